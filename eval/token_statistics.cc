#include "eval/token_statistics.h"

#include <map>

#include "base/error.h"

namespace mneme {

TokenStatistics token_statistics(const Tensor& labels, const Tensor& predictions) {
  MNEME_CHECK(labels.sizes() == predictions.sizes());
  struct Count {
    int64_t labelled = 0, predicted = 0, both = 0;
  };
  std::map<int64_t, Count> classes;
  const Tensor l = labels.to(at::kLong).contiguous(), p = predictions.to(at::kLong).contiguous();
  const int64_t n = l.numel();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t a = l.data_ptr<int64_t>()[i], b = p.data_ptr<int64_t>()[i];
    ++classes[a].labelled;
    ++classes[b].predicted;
    if (a == b) ++classes[a].both;
  }
  TokenStatistics s;
  for (const auto& [value, c] : classes) {
    const double weight = static_cast<double>(c.labelled) / static_cast<double>(n),
                 both = static_cast<double>(c.both);
    const double precision = c.predicted ? both / static_cast<double>(c.predicted) : 0;
    const double recall = c.labelled ? both / static_cast<double>(c.labelled) : 0;
    s.accuracy += both / static_cast<double>(n);
    s.precision += weight * precision;
    s.recall += weight * recall;
    s.f1 += precision + recall > 0 ? weight * 2 * precision * recall / (precision + recall) : 0;
  }
  return s;
}

}  // namespace mneme
