// The pass-key test (tasks/passkey.h): the published prompts, a greedy answer, its first whole number against
// the key; accuracy for each length. With the memory used otherwise, what it held of the prompt up to the
// last segment end is forgotten, swapped or taken from another prompt before the rest is read, so that only a
// key in that rest can be named.
#pragma once

#include <vector>

#include "eval/intervals.h"
#include "eval/memory_use.h"
#include "tasks/passkey.h"
#include "text/tokenizer.h"

namespace mneme {

struct PasskeyEvalOptions {
  std::vector<int64_t> lengths = passkey_lengths();
  std::vector<int64_t> tokens;
  int64_t trials = 50, answer = 10;
  void visit(OptionVisitor& v) {
    v.field("lengths", lengths, "characters of filling around the key");
    v.field("tokens", tokens, "instead: tokens of a prompt, the filling as long as fits");
    v.field("trials", trials, "prompts of each length");
    v.field("answer", answer, "tokens of an answer");
  }
};

struct PasskeyResult {
  int64_t filling = 0;
  double tokens = 0;  // of a prompt, on average
  Accuracy all;
  Accuracy remembered;             // of prompts whose key lies before the last segment end
  std::vector<std::string> wrong;  // the first few wrong answers, each behind its key
};

// `trials` prompts of one length, `rows` at a time.
PasskeyResult evaluate_passkey(const Model& model, const Tokenizer& tokenizer,
                               const std::vector<int64_t>& end_ids, int64_t filling, MemoryUse use,
                               const PasskeyEvalOptions& options, int64_t rows, uint64_t seed);

// The most filling with which a prompt has at most so many tokens, give or take what the number in it takes.
// Throws Error{usage} if none fits.
int64_t filling_of_tokens(const Tokenizer& tokenizer, int64_t tokens);

}  // namespace mneme
