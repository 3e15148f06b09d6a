#include "memory/cuts.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {

std::vector<int64_t> segment_ends(int64_t length, int64_t segment, const std::string& alignment) {
  if (segment <= 0) throw Error(Kind::usage, "a segment of " + std::to_string(segment) + " tokens");
  std::vector<int64_t> ends;
  if (length <= 0) return ends;
  int64_t piece = segment, first = segment;
  if (alignment == "right") {
    first = length % segment ? length % segment : segment;
  } else if (alignment == "center") {
    const int64_t pieces = (length + segment - 1) / segment;
    first = piece = (length + pieces - 1) / pieces;
  } else if (alignment != "left" && !alignment.empty()) {
    throw Error(Kind::usage, "unknown segment alignment '" + alignment + "'", "use left, right or center");
  }
  for (int64_t end = first; end < length; end += piece) ends.push_back(end);
  ends.push_back(length);
  return ends;
}

}  // namespace mneme
