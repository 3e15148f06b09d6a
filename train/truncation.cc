#include "train/truncation.h"

#include "base/error.h"

namespace mneme {

Truncation parse_truncation(const std::string& name) {
  if (name == "none") return Truncation::none;
  if (name == "detach_before") return Truncation::detach_before;
  if (name == "detach_after") return Truncation::detach_after;
  throw Error(Kind::usage, "unknown truncation '" + name + "'", "use none, detach_before or detach_after");
}

Cuts cuts_at(Truncation kind, int64_t t, int64_t n, int64_t depth) {
  const bool cut = kind != Truncation::none && depth > 0 && t > 0 && t + depth <= n;
  return {cut && kind == Truncation::detach_before, cut && kind == Truncation::detach_after};
}

}  // namespace mneme
