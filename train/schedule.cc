#include "train/schedule.h"

#include <algorithm>
#include <cmath>

namespace mneme {
namespace {

constexpr double kPi = 3.14159265358979323846;

double between(double a, double b, double x, bool cosine) {
  return cosine ? b + (a - b) / 2 * (1 + std::cos(kPi * x)) : a + (b - a) * x;
}

double one_cycle(const ScheduleOptions& o, int64_t s, int64_t n, bool cosine) {
  constexpr double kStart = 0.01, kEnd = 0.2;
  const double first = o.warmup_ratio * static_cast<double>(n) - 1, last = static_cast<double>(n) - 1;
  const auto at = static_cast<double>(s);
  if (at <= first) return between(kStart, 1, first > 0 ? at / first : 1, cosine);
  return between(1, kEnd, last > first ? (at - first) / (last - first) : 1, cosine);
}

}  // namespace

double rate_factor(const ScheduleOptions& o, int64_t s, int64_t n) {
  if (o.kind == "onecycle" || o.kind == "onecycle_linear") return one_cycle(o, s, n, o.kind == "onecycle");
  const int64_t warmup =
      o.warmup ? o.warmup : static_cast<int64_t>(std::ceil(o.warmup_ratio * static_cast<double>(n)));
  if (s < warmup) return static_cast<double>(s) / static_cast<double>(warmup);
  const double x =
      n > warmup ? std::min(1.0, static_cast<double>(s - warmup) / static_cast<double>(n - warmup)) : 1;
  if (o.kind == "linear") return o.floor + (1 - o.floor) * (1 - x);
  if (o.kind == "cosine") return o.floor + (1 - o.floor) * (1 + std::cos(kPi * x)) / 2;
  if (o.kind == "cosine80") return std::max(0.0, (1 + std::cos(0.8 * kPi * x)) / 2);
  if (o.kind == "step" || o.kind == "alternate") {
    const double fallen = std::pow(o.gamma, static_cast<double>((s - warmup) / o.every));
    return o.kind == "alternate" && s % 2 != 0 ? 0.1 * fallen : fallen;
  }
  return 1;
}

}  // namespace mneme
