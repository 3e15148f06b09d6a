// The next token from its logits: penalties, truncations, temperature, a draw. Random numbers are keyed by
// (seed, row, position), so a row's tokens do not depend on its neighbours, and a resumed text goes on as it
// would have.
#pragma once

#include <cstdint>
#include <vector>

#include "base/options.h"
#include "base/random.h"

namespace mneme {

struct SamplerOptions {
  double temperature = 0, top_p = 1, min_p = 0, typical = 1, repetition_penalty = 1, presence_penalty = 0,
         frequency_penalty = 0;
  int64_t top_k = 0;
  std::vector<int64_t> suppress;
  void visit(OptionVisitor& v) {
    v.field("temperature", temperature, "0: the most likely token; larger: more random");
    v.field("top_k", top_k, "draw among the k most likely tokens; 0: all");
    v.field("top_p", top_p, "draw among the most likely tokens that hold this share");
    v.field("min_p", min_p, "drop tokens less likely than this share of the most likely one");
    v.field("typical", typical, "keep the tokens of typical information that hold this share");
    v.field("repetition_penalty", repetition_penalty,
            "divide the logits of tokens that occurred (multiply negative ones)");
    v.field("presence_penalty", presence_penalty, "subtract from the logits of tokens that occurred");
    v.field("frequency_penalty", frequency_penalty, "subtract for each time that a token occurred");
    v.field("suppress", suppress, "tokens that are never drawn");
  }
};
void check_sampler(const SamplerOptions& options);  // Error{usage}

struct Drawn {
  int64_t id = 0;
  double logprob = 0;  // under the model, before truncation and temperature
};
// `history`: tokens that the penalties count. `logits` is scratch afterwards.
Drawn draw_token(std::vector<float>& logits, const std::vector<int64_t>& history,
                 const SamplerOptions& options, const Site& site);

}  // namespace mneme
