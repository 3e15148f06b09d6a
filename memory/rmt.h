// Recurrent Memory Transformer (Bulatov et al., arXiv 2207.06881): M memory vectors stand before the segment
// and, the same vectors, after it; the hidden states at the places after it are the memory of the next
// segment.
//
//   [P_n | tokens of segment n | P_n],   P_{n+1} = H[-M:],   P_0 learned
//
// Its gradient is cut nowhere here: how many segments a gradient crosses is the trainer's line.
#pragma once

#include "memory/method_options.h"
#include "memory/segment_memory.h"

namespace mneme {

class Rmt : public SegmentMemory {
 public:
  Rmt(const Decoder& decoder, const RmtOptions& options);

  void close(const Step& step, State& state) const override;
  int64_t bound() const override;
  int64_t extra_slots(int64_t) const override { return 2 * options_.memory_tokens; }
  std::vector<Parameter> parameters() override;
  void initialise(uint64_t seed) override;
  void to(at::Device device, at::ScalarType type) override;

 protected:
  std::vector<Piece> before(const Row& row) const override;
  std::vector<Piece> after(const Row& row) const override { return before(row); }
  void written(Row& row, const Tensor& vectors) const override;

 private:
  RmtOptions options_;
  Tensor memory_;  // [M, E], what a text begins with
};

}  // namespace mneme
