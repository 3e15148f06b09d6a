// Hierarchical Memory Transformer (He et al., arXiv 2405.06067): each segment leaves one memory vector in a
// list of the last N, and a segment reads one vector that it recalls from the list by one-head cross
// attention.
//
//   s_n = H[-1] of [T | tokens to summarise | T]              T a learned prompt
//   P_n = softmax(s_n Wqᵀ (C Wkᵀ)ᵀ · scale) C                 C the memories of earlier segments; no value
//   projection m_n = H[-1] of [P_n | sensory tokens | segment n | P_n]    sensory: the last k tokens of
//   segment n - 1
//
// As published, the summary is of the segment's own beginning, which looks ahead of the tokens it helps to
// predict (recall = lookahead). Our default summarises the end of the previous segment (recall = causal).
#pragma once

#include "memory/method_options.h"
#include "memory/segment_memory.h"
#include "ops/recall.h"

namespace mneme {

class Hmt : public SegmentMemory {
 public:
  Hmt(const Decoder& decoder, const HmtOptions& options);

  int64_t room(const Row& row) const override;
  void open(const Step& step, State& state) const override;
  void close(const Step& step, State& state) const override;
  int64_t text_kept() const override;
  std::vector<Breach> breaches() const override;
  int64_t bound() const override;
  int64_t extra_slots(int64_t segment) const override;
  std::vector<Parameter> parameters() override;
  std::vector<std::string> frozen() const override;
  void initialise(uint64_t seed) override;
  void to(at::Device device, at::ScalarType type) override;
  // The experimental map's direction at its next use: it turns at each use.
  void set_map(bool inverse) { options_.map = inverse ? "inverse" : "forward"; }

 protected:
  std::vector<Piece> before(const Row& row) const override;
  std::vector<Piece> after(const Row& row) const override;
  void written(Row& row, const Tensor& vectors) const override;

 private:
  enum class Mode { hmt, stage1, rmt, baseline };
  Tensor read_vectors(const Row& row) const;  // P, [1, E]
  Tensor mapped(const Tensor& vector) const;
  struct Summary {  // of a segment: what is summarised for its recall
    int64_t row, segment;
    std::vector<int64_t> text;
    std::vector<uint8_t> seen;  // empty: all
  };
  // Of the segment that the span opens and of the next ones that begin in this call, `most` in all.
  std::vector<Summary> upcoming(const Step& step, const Row& row, const Span& span, int64_t most) const;
  Tensor queries_of(const Step& step, const State& state, const std::vector<Span>& opening) const;  // [n, E]
  Tensor summarise(const Step& step, const std::vector<Summary>& texts) const;                      // [n, E]
  Recalled recall_for(const State& state, const std::vector<int64_t>& rows, const Tensor& queries) const;
  void lengthen(const std::vector<int64_t>& rows, const std::vector<int64_t>& distance, State& state) const;
  int64_t extra() const { return options_.extra ? options_.extra : options_.sensory / 2; }

  HmtOptions options_;
  Mode mode_;
  int64_t summary_ = 0;       // j
  Tensor memory_, prompt_;    // [1, E] each
  Weight query_, key_;        // [dh, E]
  Weight map_, inverse_map_;  // [E, E]
};

}  // namespace mneme
