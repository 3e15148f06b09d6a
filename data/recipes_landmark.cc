#include "data/recipes_landmark.h"

#include "base/error.h"

namespace mneme {

std::vector<int32_t> landmark_stream(const std::vector<int32_t>& raw, int64_t every, int32_t landmark) {
  if (every < 1)
    throw Error(Kind::usage, "landmarks need a positive distance, found " + std::to_string(every));
  std::vector<int32_t> out;
  out.reserve(raw.size() + raw.size() / static_cast<size_t>(every));
  int64_t since = 0;
  for (const int32_t id : raw) {
    out.push_back(id);
    if (++since < every) continue;
    out.push_back(landmark);
    since = 0;
  }
  return out;
}

std::vector<int32_t> landmark_row(const std::vector<int32_t>& row, int64_t every, int32_t landmark) {
  std::vector<int32_t> out = landmark_stream(row, every, landmark);
  const bool at_end = !row.empty() && static_cast<int64_t>(row.size()) % every == 0;
  if (at_end) out.pop_back();
  return out;
}

std::vector<int32_t> landmark_labels(const std::vector<int32_t>& stream, int64_t first, int64_t length,
                                     int32_t landmark, int32_t end_of_text) {
  if (first < 0 || length < 0 || first + length + 2 > static_cast<int64_t>(stream.size())) {
    throw Error(Kind::usage, "a window of " + std::to_string(length) + " tokens at " + std::to_string(first) +
                                 " needs two more tokens behind it than the stream has");
  }
  std::vector<int32_t> labels;
  for (int64_t t = first; t < first + length; ++t) {
    const auto at = static_cast<size_t>(t);
    const bool silent = stream[at] == landmark || stream[at] == end_of_text;
    const int32_t next = stream[at + 1] == landmark ? stream[at + 2] : stream[at + 1];
    labels.push_back(silent ? -1 : next);
  }
  return labels;
}

}  // namespace mneme
