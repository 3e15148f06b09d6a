// What a trainer reads. Most samples are a function of the step, so that a resume sees what an uninterrupted
// run sees. Those whose texts go on from one step to the next follow each other; their source has a position,
// which is part of a checkpoint.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/options.h"
#include "tasks/associative_recall.h"
#include "tensor/tensor.h"

namespace mneme {

struct Sample {
  Tensor ids;     // int64 [B, T]
  Tensor labels;  // int64 [B, T]: what each position should predict, -100: nothing
  // Of texts that go on from the sample before and end anywhere: each row in pieces of equal width.
  Tensor reset = {};  // bool [B, S]: the piece begins a text; undefined: one text a row, from its begin on
  Tensor count = {};  // int64 [B, S]: tokens of the piece
  bool goes_on() const { return reset.defined(); }
  Sample rows(int64_t first, int64_t n) const;
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  // `segments`: segments of each text. Samples of different steps do not overlap in what they draw.
  virtual Sample train(uint64_t step, int64_t rows, int64_t segments) = 0;
  virtual Sample held_out(uint64_t index, int64_t rows, int64_t segments) const = 0;
  virtual int64_t vocabulary() const = 0;
  // Where the samples after the last one begin; null where they are a function of the step. A source with a
  // position gives the samples of step 0, 1, 2, ... in this order, the last one again if asked again.
  virtual nlohmann::json position() const { return nullptr; }
  virtual void restore(const nlohmann::json& /*position*/) {}
};

// Pass keys (tasks/passkey.h) as long as the sample allows.
struct PasskeyOptions {
  double shortest = 1;
  bool all = false;
  void visit(OptionVisitor& v) {
    v.field("shortest", shortest,
            "prompts fill a random share of the sample, between this and 1; 1: all of it");
    v.field("all", all, "the prompt counts in the loss too, not the key alone");
  }
};

struct DataOptions {
  std::string kind = "recall", train, valid, tokenizer, layout = "documents";
  int64_t segment = 256;
  bool shuffle = true;
  RecallTask recall;
  PasskeyOptions passkey;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind, {"recall", "passkey", "bytes", "tokens"},
             "generated associative recall or pass keys, text files read as bytes, or what 'mneme data "
             "prepare' made");
    v.field("train", train,
            "bytes: a text file, or a list of files (*.list, one name a line, relative to it); tokens: a "
            "prepared folder");
    v.field("valid", valid, "bytes and tokens: the held-out texts");
    v.field("tokenizer", tokenizer,
            "passkey: model folder or tokenizer file; the trained model's folder gets a copy of it (default: "
            "of the "
            "prepared data's, or of the former model's)");
    v.field("segment", segment, "bytes, passkey, tokens: tokens of a segment of a sample");
    v.choice("layout", layout, {"documents", "windows", "samples"},
             "tokens: each row goes through its texts from update to update and keeps its memory within a "
             "text; windows at random places of all texts; or one text a row from its begin on, padded");
    v.field("shuffle", shuffle, "tokens: texts in a new random order each epoch");
    v.section("recall", recall, "the associative recall task");
    v.section("passkey", passkey, "the pass-key task");
  }
};

std::unique_ptr<SampleSource> make_source(const DataOptions& options, uint64_t seed);

// The kinds that have files of their own.
std::unique_ptr<SampleSource> make_passkey_source(const DataOptions& options, uint64_t seed);
std::unique_ptr<SampleSource> make_token_source(const DataOptions& options, uint64_t seed);

constexpr uint64_t kHeldOut = uint64_t{1} << 40;  // indexes of held-out documents, far from those of training

}  // namespace mneme
