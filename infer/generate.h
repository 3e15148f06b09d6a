// Generation: prompts in, tokens out, one loop over read(). Every row has its own length and end; rows that
// are done leave the batch. The state that comes back has read everything, the last token included, so a text
// can go on later.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "infer/sampler.h"
#include "memory/model.h"
#include "text/tokenizer.h"

namespace mneme {

struct GenerateOptions {
  int64_t max_tokens = 128;
  int64_t top_logprobs = 0;
  std::vector<std::string> stop;
  SamplerOptions sampler;
  void visit(OptionVisitor& v) {
    v.field("max_tokens", max_tokens, "new tokens at most");
    v.field("stop", stop, "texts that end the output (they are left out)");
    v.field("top_logprobs", top_logprobs,
            "with --json: the likeliest tokens at each step, and their logprobs");
    v.section("sampler", sampler, "how tokens are drawn");
  }
  int64_t samples = 1;    // continuations of each prompt, which is read once; rows p * samples, ...
  int64_t first_row = 0;  // number of the first row among the caller's, for random numbers
  bool read_last = true;  // false: the last token of a row is left for the caller to read
};

// Throws Error{usage} for what cannot be.
void check_generation(const GenerateOptions& options);

struct Completion {
  std::vector<int64_t> ids;
  std::vector<double> logprobs;
  std::vector<std::vector<std::pair<int64_t, double>>> top;  // of each step, the likeliest first
  std::string text;    // without a stop text; empty when there is no tokenizer
  std::string reason;  // "length", "stop" (a stop text), "end" (an end-of-text token), "interrupted"
};

struct GenerateHooks {
  // A row's new text as it comes, whole UTF-8 only, and never the beginning of a stop text.
  std::function<void(int64_t row, const std::string& text)> on_text = {};
  std::function<void(int64_t row, const Row& state)> on_read = {};  // after each reading
  std::function<bool()> stopped = {};                               // true: rows end as "interrupted"
};

// `prompts`: ids of each row, read on from `state` (fresh or of a session), which then has a row for each
// sample. `end_ids` end a row. `tokenizer` may be null: no text then.
std::vector<Completion> generate(const Model& model, const Tokenizer* tokenizer,
                                 const std::vector<std::vector<int64_t>>& prompts,
                                 const std::vector<int64_t>& end_ids, const GenerateOptions& options,
                                 uint64_t seed, State& state, const GenerateHooks& hooks = {});

}  // namespace mneme
