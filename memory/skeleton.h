// The smallest whole method, to be copied for a new one (docs/adding-a-method.md): the last hidden vector of
// a segment, through a learned map, stands before the next segment. It is in no table that users see; the law
// tests run it like every other row, so that it stays true.
#pragma once

#include "memory/registry.h"
#include "memory/segment_memory.h"

namespace mneme {

struct SkeletonOptions {
  int64_t segment = 256;
  bool carry = true;  // false: no memory, for the law "off"
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "text tokens of a segment");
    v.field("carry", carry, "the next segment sees the vector that this one leaves");
  }
};

class Skeleton : public SegmentMemory {
 public:
  Skeleton(const Decoder& decoder, const SkeletonOptions& options);

  Tensor extend(const Step& step, State& state) const override;
  int64_t bound() const override;
  std::vector<Parameter> parameters() override;
  void initialise(uint64_t seed) override;
  void to(at::Device device, at::ScalarType type) override;

 protected:
  std::vector<Piece> before(const Row& row) const override;

 private:
  SkeletonOptions options_;
  Tensor map_;  // [E, E]
};

// What registry.cc would hold. A method of the registry has a section of its own in MemoryOptions; this one
// borrows RMT's: memory_tokens 0 is off.
const MethodRow& skeleton_row();

}  // namespace mneme
