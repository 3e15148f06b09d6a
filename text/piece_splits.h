// All ways to put a piece together from two others: the merges of a vocabulary that is stored without them
// (tiktoken ranks, SentencePiece).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mneme {

using PieceIds = std::vector<std::pair<std::string_view, int32_t>>;

// Calls `found(left, right, whole)` for each entry of `wholes` and each way to halve it into two of `halves`.
void for_each_split(const PieceIds& halves, const PieceIds& wholes,
                    const std::function<void(int32_t, int32_t, int32_t)>& found);

// The characters in `pieces` that are no piece themselves, with ids from `first_id` on.
std::vector<std::pair<std::string, int32_t>> loose_characters(const PieceIds& pieces, int32_t first_id);

}  // namespace mneme
