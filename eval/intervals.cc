#include "eval/intervals.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace mneme {
namespace {

constexpr double kZ = 1.959964;  // of 95%
constexpr size_t kDraws = 2000;

double wilson(const Accuracy& a, double side) {
  if (a.asked == 0) return 0;
  const auto n = static_cast<double>(a.asked);
  const double p = a.value(), z2 = kZ * kZ / n;
  return (p + z2 / 2 + side * kZ * std::sqrt(p * (1 - p) / n + z2 / n / 4)) / (1 + z2);
}

}  // namespace

double Accuracy::low() const { return wilson(*this, -1); }
double Accuracy::high() const { return wilson(*this, 1); }

double ratio(const std::vector<Part>& parts) {
  Part all;
  for (const Part& p : parts) {
    all.sum += p.sum;
    all.weight += p.weight;
  }
  return all.weight > 0 ? all.sum / all.weight : 0;
}

std::optional<Interval> bootstrap(const std::vector<Part>& parts, uint64_t seed) {
  if (parts.size() < 2) return std::nullopt;
  std::vector<double> drawn;
  std::vector<Part> some(parts.size());
  for (size_t i = 0; i < kDraws; ++i) {
    Random random({.seed = seed, .step = i, .draw = Draw::sample});
    for (Part& p : some) p = parts[static_cast<size_t>(random.below(parts.size()))];
    drawn.push_back(ratio(some));
  }
  std::sort(drawn.begin(), drawn.end());
  return Interval{drawn[kDraws / 40], drawn[kDraws - 1 - kDraws / 40]};
}

}  // namespace mneme
