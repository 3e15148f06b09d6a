#include "base/glob.h"

namespace mneme {

std::optional<std::string> glob_match(const std::string& pattern, const std::string& name) {
  // Backtracking to the last star is enough for globs.
  size_t p = 0, n = 0, star = std::string::npos, mark = 0;
  size_t first_begin = std::string::npos, first_end = 0, first_star = pattern.find('*');
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      if (p == first_star) first_begin = first_end = n;
      star = p++;
      mark = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++mark;
      if (star == first_star) first_end = mark;
    } else {
      return std::nullopt;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    if (p == first_star) first_begin = first_end = n;
    ++p;
  }
  if (p != pattern.size()) return std::nullopt;
  return first_begin == std::string::npos ? std::string() : name.substr(first_begin, first_end - first_begin);
}

}  // namespace mneme
