// What methods share that read a text segment by segment through one pass each: the pass itself, with room
// for vectors before the segment's tokens (read memory, sensory tokens) and after them (write memory). With
// nothing in either place it is the plain decoder.
#pragma once

#include "memory/memory.h"
#include "memory/pass.h"

namespace mneme {

class SegmentMemory : public Memory {
 public:
  SegmentMemory(const Decoder& decoder, int64_t segment) : decoder_(decoder), segment_(segment) {}

  int64_t room(const Row& row) const override { return segment_ - row.phase; }
  Tensor extend(const Step& step, State& state) const override;
  void close(const Step& step, State& state) const override;
  int64_t bound() const override;

 protected:
  virtual std::vector<Piece> before(const Row&) const { return {}; }
  virtual std::vector<Piece> after(const Row&) const { return {}; }
  virtual int64_t slot_position(const Row& row) const { return row.working.size(); }
  virtual bool keeps_closing_slots() const { return false; }
  // The attention of the pass; `rows` are the state's rows in the pass's order.
  virtual Tensor attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q,
                        const Tensor& k, const Tensor& v) const;
  // Hidden vectors of a closing row's slots after its tokens, [n, E].
  virtual void written(Row&, const Tensor& /*vectors*/) const {}
  virtual void configure(Pass&) const {}

  int64_t slot_bytes() const;  // of keys and values of one slot, all layers
  const Decoder& decoder_;
  int64_t segment_;
};

}  // namespace mneme
