// The baselines: what a decoder can do without a memory of its own.
//
//   none        the plain decoder: one endless segment, every key and value kept
//   segments    independent segments
//   window      a sliding window
//   sink        attention sinks and a window (StreamingLLM, arXiv 2309.17453): positions count within what is
//   kept xl          Transformer-XL (arXiv 1901.02860): keys and values of earlier segments stay visible,
//   without gradient memorizing  Memorizing Transformer (arXiv 2203.08913): nearest neighbours among past
//   keys, joined by a learned gate
#pragma once

#include "memory/method_options.h"
#include "memory/segment_memory.h"

namespace mneme {

class None : public SegmentMemory {
 public:
  explicit None(const Decoder& decoder) : SegmentMemory(decoder, kUnbounded) {}
  int64_t room(const Row&) const override { return kUnbounded; }
  int64_t bound() const override { return -1; }
};

class Segments : public SegmentMemory {
 public:
  Segments(const Decoder& decoder, const SegmentsOptions& options);
  std::optional<Reading> extend_segments(const Batch&, State&, const Draws*) const override;
};

class Window : public SegmentMemory {
 public:
  Window(const Decoder& decoder, const WindowOptions& options);
  int64_t room(const Row&) const override { return kUnbounded; }
  Tensor extend(const Step& step, State& state) const override;
  int64_t bound() const override;

 protected:
  int64_t slot_position(const Row& row) const override { return row.position; }
  void configure(Pass& pass) const override;

 private:
  int64_t window_;
};

class Sink : public SegmentMemory {
 public:
  Sink(const Decoder& decoder, const SinkOptions& options);
  int64_t room(const Row&) const override { return kUnbounded; }
  Tensor extend(const Step& step, State& state) const override;
  int64_t bound() const override;

 protected:
  int64_t slot_position(const Row& row) const override { return row.position; }
  void configure(Pass& pass) const override;
  Tensor attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q, const Tensor& k,
                const Tensor& v) const override;

 private:
  SinkOptions options_;
};

class Xl : public SegmentMemory {
 public:
  Xl(const Decoder& decoder, const XlOptions& options);
  void close(const Step& step, State& state) const override;
  int64_t bound() const override;

 protected:
  int64_t slot_position(const Row& row) const override;
  bool keeps_closing_slots() const override { return options_.cache > 0; }
  Tensor attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q, const Tensor& k,
                const Tensor& v) const override;

 private:
  XlOptions options_;
};

}  // namespace mneme
