#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace mneme {
namespace {

double cosine(double a, double b, double x) { return b + (a - b) / 2 * (1 + std::cos(std::numbers::pi * x)); }
double line(double a, double b, double x) { return a + (b - a) * x; }

// The rise ends at update `first`, which need not be whole: torch's OneCycleLR.
double one_cycle(const ScheduleOptions& o, int64_t s, int64_t n) {
  constexpr double kStart = 0.01, kEnd = 0.2;
  const auto anneal = o.kind == "onecycle" ? cosine : line;
  const auto total = static_cast<double>(n), at = static_cast<double>(s);
  const double first = (o.warmup ? static_cast<double>(o.warmup) : o.warmup_ratio * total) - 1,
               last = total - 1;
  if (at <= first) return anneal(kStart, 1, first > 0 ? at / first : 1);
  return anneal(1, kEnd, last > first ? std::min(1.0, (at - first) / (last - first)) : 1);
}

double steps_down(const ScheduleOptions& o, int64_t t) {
  return std::pow(o.gamma, static_cast<double>(t / o.every));
}

void require(bool holds, const std::string& message, const std::string& hint) {
  if (!holds) throw Error(Kind::usage, "schedule: " + message, hint);
}

}  // namespace

void validate(const ScheduleOptions& o) {
  require(o.warmup >= 0, "warmup is " + std::to_string(o.warmup), "give 0 or more updates");
  require(o.warmup_ratio >= 0 && o.warmup_ratio <= 1, "warmup_ratio is " + std::to_string(o.warmup_ratio),
          "give a share between 0 and 1");
  require(o.warmup == 0 || o.warmup_ratio == 0, "warmup and warmup_ratio are both set", "set one of them");
  require(o.every > 0, "every is " + std::to_string(o.every), "give 1 update or more");
  require(std::isfinite(o.gamma) && o.gamma > 0, "gamma is " + std::to_string(o.gamma),
          "give a positive factor");
  require(o.floor >= 0 && o.floor <= 1, "floor is " + std::to_string(o.floor),
          "give a share between 0 and 1");
  require(o.floor == 0 || o.kind == "linear" || o.kind == "cosine", o.kind + " knows no floor",
          "leave floor out, or use linear or cosine");
}

double rate_factor(const ScheduleOptions& o, int64_t s, int64_t n) {
  validate(o);
  MNEME_CHECK(s >= 0 && n > 0, std::to_string(s) + " of " + std::to_string(n));
  if (o.kind == "onecycle" || o.kind == "onecycle_linear") return one_cycle(o, s, n);
  const int64_t warmup =
      o.warmup ? o.warmup : static_cast<int64_t>(std::ceil(o.warmup_ratio * static_cast<double>(n)));
  if (s < warmup) return static_cast<double>(s) / static_cast<double>(warmup);
  const int64_t t = s - warmup;
  const double x = n > warmup ? std::min(1.0, static_cast<double>(t) / static_cast<double>(n - warmup)) : 1;
  if (o.kind == "constant") return 1;
  if (o.kind == "linear") return line(1, o.floor, x);
  if (o.kind == "cosine") return cosine(1, o.floor, x);
  if (o.kind == "cosine80") return cosine(1, 0, 0.8 * x);
  if (o.kind == "step") return steps_down(o, t);
  if (o.kind == "alternate") return steps_down(o, t) * (t % 2 == 0 ? 0.1 : 1.0);
  throw Error(Kind::usage, "unknown schedule '" + o.kind + "'",
              "use constant, linear, cosine, cosine80, onecycle, onecycle_linear, step or alternate");
}

}  // namespace mneme
