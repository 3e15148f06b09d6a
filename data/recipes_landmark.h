// How the original of landmark attention puts landmarks into token streams, and what its models are trained
// to predict there.
#pragma once

#include <cstdint>
#include <vector>

namespace mneme {

// Training from scratch: a landmark after each `every` tokens of the whole stream, documents or not; none
// after an incomplete tail.
std::vector<int32_t> landmark_stream(const std::vector<int32_t>& raw, int64_t every, int32_t landmark);

// Fine-tuning, one row: the same, but none at the very end of the row.
std::vector<int32_t> landmark_row(const std::vector<int32_t>& row, int64_t every, int32_t landmark);

// Labels of the window [first, first + length) of a stream with landmarks: each token predicts the one that
// follows, over a landmark if there is one between; landmarks and `end_of_text` predict nothing (-1, as in
// the original). The stream must reach two tokens past the window.
std::vector<int32_t> landmark_labels(const std::vector<int32_t>& stream, int64_t first, int64_t length,
                                     int32_t landmark, int32_t end_of_text);

}  // namespace mneme
