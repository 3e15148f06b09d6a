// Truncation of gradients in time, counted in segments: the one place that decides where the memory is cut
// off the graph.
//
//   none            never
//   detach_before   the memory entering segment t is cut when t + depth <= n, so a gradient crosses exactly
//   the last `depth`
//                   segments of n
//   detach_after    the same condition on the memory leaving segment t (RMT's later code): one segment less
#pragma once

#include <cstdint>
#include <string>

namespace mneme {

enum class Truncation { none, detach_before, detach_after };

Truncation parse_truncation(const std::string& name);  // Error{usage} names the known ones

struct Cuts {
  bool before = false, after = false;
};
// Segment `t` of `n`; depth <= 0: no truncation.
Cuts cuts_at(Truncation kind, int64_t t, int64_t n, int64_t depth);

}  // namespace mneme
