// Generation: prompts in, tokens out, one loop over read(). Every row has its own length and end; rows that
// are done leave the batch. The state that comes back has read everything, the last token included, so a text
// can go on later.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "infer/sampler.h"
#include "memory/model.h"
#include "text/tokenizer.h"

namespace mneme {

struct GenerateOptions {
  int64_t max_tokens = 128;
  std::vector<std::string> stop;
  SamplerOptions sampler;
  void visit(OptionVisitor& v) {
    v.field("max_tokens", max_tokens, "new tokens at most");
    v.field("stop", stop, "texts that end the output (they are left out)");
    v.section("sampler", sampler, "how tokens are drawn");
  }
};

struct Completion {
  std::vector<int64_t> ids;
  std::vector<double> logprobs;
  std::string text;    // without a stop text; empty when there is no tokenizer
  std::string reason;  // "length", "stop" (a stop text), "end" (an end-of-text token)
};

// `prompts`: ids of each row, read on from `state` (fresh or of a session). `end_ids` end a row. `on_text`
// gets row and new text as it comes, whole UTF-8 only, and never the beginning of a stop text. `tokenizer`
// may be null: no text then.
std::vector<Completion> generate(const Model& model, const Tokenizer* tokenizer,
                                 const std::vector<std::vector<int64_t>>& prompts,
                                 const std::vector<int64_t>& end_ids, const GenerateOptions& options,
                                 uint64_t seed, State& state,
                                 const std::function<void(int64_t, const std::string&)>& on_text = {});

}  // namespace mneme
