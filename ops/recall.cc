#include "ops/recall.h"

#include <cmath>

#include "ops/linear.h"

namespace mneme {

Recalled recall(const Tensor& memories, const std::vector<int64_t>& count, const Tensor& queries,
                const Tensor& wq, const Tensor& wk, double divisor, at::ScalarType type) {
  const Tensor list = memories.to(type);
  const Tensor q = linear(queries.unsqueeze(1).to(type), Weight(wq.to(type)));  // [n, 1, dh]
  const Tensor k = linear(list, Weight(wk.to(type)));                           // [n, N, dh]
  const at::ScalarType soft = type == at::kDouble ? at::kDouble : at::kFloat;
  Tensor scores =
      (at::matmul(q, k.transpose(1, 2)) / at::scalar_tensor(divisor, q.options())).to(soft);  // [n, 1, N]
  bool ragged = false;
  Tensor absent = at::zeros({list.size(0), 1, list.size(1)}, at::kBool);
  for (int64_t i = 0; i < list.size(0); ++i) {
    const int64_t missing = list.size(1) - count[static_cast<size_t>(i)];
    if (missing > 0) absent[i].narrow(1, list.size(1) - missing, missing).fill_(true);
    ragged = ragged || missing > 0;
  }
  if (ragged) scores = scores.masked_fill(absent.to(scores.device()), -INFINITY);
  const Tensor weights = scores.softmax(-1).to(type);
  Recalled out{at::matmul(weights, list).squeeze(1), weights.squeeze(1), {}};
  // The strongest by hand: libtorch leaves open which of equals argmax gives.
  const Tensor w = out.weights.detach().to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < w.size(0); ++i) {
    const double* line = w.data_ptr<double>() + i * w.size(1);
    int64_t best = 0;
    for (int64_t j = 1; j < count[static_cast<size_t>(i)]; ++j) best = line[j] > line[best] ? j : best;
    out.best.push_back(best);
  }
  return out;
}

double recall_divisor(int64_t width, int64_t embed_width, bool as_in_training) {
  constexpr int64_t kWide = 4096;
  const bool wide = as_in_training && width >= kWide && embed_width >= kWide;
  return wide ? static_cast<double>(width) : std::sqrt(static_cast<double>(width));
}

}  // namespace mneme
