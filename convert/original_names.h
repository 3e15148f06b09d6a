// Checkpoints of the original RMT and HMT programs: the wrapped backbone's tensors under
// "memory_cell.model.", the memory's parameters beside it ("memory_cell.memory", "mem",
// "cross_attn.wq.weight", ...), and where they trained with PEFT, its spellings inside.
#pragma once

#include <optional>

#include "io/adapter.h"
#include "io/weights.h"
#include "memory/method_options.h"

namespace mneme {

inline constexpr const char* kOriginalPrefix = "memory_cell.model.";

bool is_original(const WeightSource& source);

struct OriginalParts {
  WeightSource weights;              // of the backbone, without any wrapper
  WeightSource added;                // of the memory, names unchanged
  std::optional<WeightSource> lora;  // PEFT's pairs
};
OriginalParts split_original(const WeightSource& source);

// PEFT's pairs as an adapter; ranks are those of the tensors.
Adapter adapter_inside(const WeightSource& lora, double alpha);

// The method that the shapes imply, for checkpoints that come without a word about it. What shapes cannot
// tell (the segment) keeps our default; a warning says so.
MemoryOptions guess_memory(const Shapes& added);

}  // namespace mneme
