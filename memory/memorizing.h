// Memorizing Transformer (Wu et al., arXiv 2203.08913): one layer also reads, by exact nearest neighbours,
// the keys and values of everything before the open segment, and joins what it finds to its local attention
// by a learned gate.
//
//   o = g · softmax(q K_nnᵀ) V_nn + (1 - g) · local,   g = sigmoid(b) per head
//
// Keys lie in the bank unrotated (memory has no position) and normalised as the paper asks; nothing in it has
// a gradient.
#pragma once

#include "memory/method_options.h"
#include "memory/segment_memory.h"

namespace mneme {

class Memorizing : public SegmentMemory {
 public:
  Memorizing(const Decoder& decoder, const MemorizingOptions& options);

  void close(const Step& step, State& state) const override;
  int64_t bound() const override;
  std::vector<Parameter> parameters() override;
  void initialise(uint64_t seed) override;
  void to(at::Device device, at::ScalarType type) override;

 protected:
  Tensor attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q, const Tensor& k,
                const Tensor& v) const override;

 private:
  Tensor recall(const Row& row, const Tensor& q) const;  // q [T, H, K] -> [T, H, K]

  MemorizingOptions options_;
  Tensor gate_;  // [H]
};

}  // namespace mneme
