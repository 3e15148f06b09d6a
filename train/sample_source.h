// What a trainer reads: samples as a function of the step, so that a resume sees what an uninterrupted run
// sees.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "tasks/associative_recall.h"
#include "tensor/tensor.h"

namespace mneme {

struct Sample {
  Tensor ids;     // int64 [B, T]
  Tensor labels;  // int64 [B, T]: what each position should predict, -100: nothing
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  // `segments`: segments of each text. Samples of different steps do not overlap in what they draw.
  virtual Sample train(uint64_t step, int64_t rows, int64_t segments) const = 0;
  virtual Sample held_out(uint64_t index, int64_t rows, int64_t segments) const = 0;
  virtual int64_t vocabulary() const = 0;
};

struct DataOptions {
  std::string kind = "recall", train, valid;
  int64_t segment = 256;
  RecallTask recall;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind, {"recall", "bytes"}, "generated associative recall, or text files read as bytes");
    v.field("train", train,
            "bytes: a text file, or a list of files (*.list, one name a line, relative to it)");
    v.field("valid", valid, "bytes: the held-out texts");
    v.field("segment", segment, "bytes: tokens of a segment of a sample");
    v.section("recall", recall, "the associative recall task");
  }
};

std::unique_ptr<SampleSource> make_source(const DataOptions& options, uint64_t seed);

}  // namespace mneme
