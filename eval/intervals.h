// Measured values with what is known of their error: shares with Wilson's interval, ratios of sums over
// documents with a bootstrapped one. All intervals are of 95%.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace mneme {

struct Accuracy {
  int64_t right = 0, asked = 0;
  double value() const { return asked ? static_cast<double>(right) / static_cast<double>(asked) : 0; }
  double low() const;
  double high() const;
};

struct Interval {
  double low = 0, high = 0;
};

// One document's share of a ratio: nats and tokens, say.
struct Part {
  double sum = 0;
  double weight = 0;
};
double ratio(const std::vector<Part>& parts);  // sum of sums over sum of weights
// Percentiles of the ratio over documents drawn with replacement, the same draws for the same seed. Nothing
// for fewer than two documents: one says nothing of others.
std::optional<Interval> bootstrap(const std::vector<Part>& parts, uint64_t seed);

}  // namespace mneme
