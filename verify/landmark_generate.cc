// Landmark's reference cases of generation: LLaMA's prompt windows, then greedy tokens, each a window.
#include "memory/landmark_slots.h"
#include "verify/landmark.h"

namespace mneme {
namespace {

// What the original keeps after the last call; keys and values of each query head.
void put_final(const GoldenCase& golden, const Model& model, const Row& row, Results& results) {
  const int64_t share = model.decoder->config().heads / model.decoder->config().kv_heads;
  const auto heads = [&](const Tensor& t, int64_t axis) {  // [..., G, K] -> [1, H, ...]
    return t.movedim(axis, 0).repeat_interleave(share, 0).unsqueeze(0);
  };
  const bool apart =
      golden.expects_count("final.*.block_k") > 0;  // the blocks of earlier calls by themselves
  for (int64_t l = 0; l < model.decoder->config().layers; ++l) {
    const std::string at = "final.layer" + std::to_string(l);
    auto [k, v] = window_slots(model, row, l);
    const auto [block_k, block_v] = kept_slots(model, row, l);
    if (apart) {
      results.put(at + ".block_k", heads(block_k, 2));
      results.put(at + ".block_v", heads(block_v, 2));
      results.put(at + ".landmark_k", heads(block_k.select(1, block_k.size(1) - 1), 1));
    } else {
      k = at::cat({block_k.flatten(0, 1), k});
      v = at::cat({block_v.flatten(0, 1), v});
    }
    results.put(at + ".k", heads(k, 1));
    results.put(at + ".v", heads(v, 1));
  }
}

}  // namespace

Results run_landmark_prompt(const GoldenCase& golden) {
  const at::NoGradGuard no_grad;
  const CaseModel c = landmark_model(golden);
  const Tensor prompt = golden.input("prompt_ids");
  const int64_t window = c.model.options.landmark.segment,
                count = golden.expected_shape("generated_ids").at(1);
  Results results;
  State state = c.model.initial(1);
  int64_t calls = 0, position = 0;
  const auto feed = [&](const Tensor& ids) {  // -> logits behind the last token [1, V]
    const LandmarkCall call = landmark_call(c.model, segment_batch(ids, {}, 0, ids.size(1), true), state);
    const std::string at = "call" + std::to_string(calls++);
    const int64_t slots = call.ids.size(1);
    results.put(at + ".input_ids", call.ids);
    results.put(at + ".position_ids", at::arange(position, position + slots, at::kLong).unsqueeze(0));
    results.put(at + ".logits", call.logits);
    put_selections(c.model, call, at, true, results);
    position += slots;
    return c.model.decoder->logits(call.hidden.select(1, ids.size(1) - 1));
  };
  Tensor logits;
  for (int64_t at = 0; at < prompt.size(1); at += window) {
    logits = feed(prompt.narrow(1, at, std::min(window, prompt.size(1) - at)));
  }
  std::vector<Tensor> tokens, all;
  for (int64_t t = 0; t < count; ++t) {
    all.push_back(logits);
    tokens.push_back(logits.argmax(-1, true));
    if (t + 1 < count) logits = feed(tokens.back());
  }
  results.put("generated_ids", at::cat(tokens, 1));
  results.put("step_logits", at::stack(all, 1));
  put_final(golden, c.model, state.rows[0], results);
  return results;
}

}  // namespace mneme
