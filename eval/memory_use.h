// What an evaluation does with a text's memory. If it carries anything, the text's own is worth more than
// none, and more than another text's.
#pragma once

#include <string>
#include <vector>

#include "memory/model.h"

namespace mneme {

enum class MemoryUse {
  on,
  off,       // forgotten at every segment end
  shuffled,  // swapped between the texts of a batch at every segment end
  foreign    // what another text has left after as many segments
};
std::string memory_use_name(MemoryUse use);
MemoryUse parse_memory_use(const std::string& name);  // Error{usage} names the known ones

// Row r becomes row r + 1, the last one the first: nobody keeps its own where there are two.
State rotated(const State& state);

// Tokens of a fresh text's segment; nothing for a method without segments, whose memory cannot be swapped.
std::optional<int64_t> segment_of(const Model& model);

}  // namespace mneme
