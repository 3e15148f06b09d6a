// Where the originals cut a text into segments. Streams are cut by the method's own grid (Memory::room);
// these cuts are for whole texts, as explicit ends of a Batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mneme {

// Ends of the segments of `length` tokens: left: the last segment is the short one; right: the first is;
// center: pieces of ceil(length / ceil(length / segment)) tokens. Throws Error{usage} for another alignment.
std::vector<int64_t> segment_ends(int64_t length, int64_t segment, const std::string& alignment);

}  // namespace mneme
