#include "verify/landmark.h"

#include <algorithm>

#include "base/error.h"
#include "memory/landmark_slots.h"
#include "memory/original_config.h"
#include "verify/run.h"

namespace mneme {

CaseModel landmark_model(const GoldenCase& golden) {
  return load_case_model(golden, from_original_config(golden.section("memory")), "");
}

Tensor label_loss(const Tensor& logits, const Tensor& labels, int64_t ignored) {
  return at::cross_entropy_loss(logits.reshape({-1, logits.size(2)}), labels.reshape(-1), {},
                                at::Reduction::Mean, ignored);
}

Batch without_landmarks(const Tensor& ids, int64_t landmark, int64_t block, State& state) {
  Batch out;
  out.ids = at::zeros_like(ids);
  const int64_t length = ids.size(1);
  for (int64_t b = 0; b < ids.size(0); ++b) {
    const Tensor line = ids[b].contiguous();
    const int64_t *from = line.data_ptr<int64_t>(), *first = std::find(from, from + length, landmark);
    if (first != from + length)
      state.rows[static_cast<size_t>(b)].numbers["missing"] = block - (first - from);
    int64_t* to = out.ids.data_ptr<int64_t>() + b * length;
    const int64_t* end = std::remove_copy(from, from + length, to, landmark);
    out.count.push_back(end - to);
  }
  out.ids = out.ids.narrow(1, 0, *std::max_element(out.count.begin(), out.count.end())).contiguous();
  return out;
}

LandmarkCall landmark_call(const Model& model, Batch batch, State& state, const Draws* draws) {
  const int64_t rows = batch.ids.size(0);
  batch.ends.emplace();
  for (int64_t r = 0; r < rows; ++r) {
    batch.ends->push_back({batch.count.empty() ? batch.ids.size(1) : batch.count[static_cast<size_t>(r)]});
  }
  LandmarkCall call;
  call.trace.slots = true;
  ReadOptions options;
  options.draws = draws;
  options.trace = &call.trace;
  const bool fresh = state.rows[0].working.empty() && state.rows[0].position == 0;
  call.hidden = read(model, batch, state, options).hidden;
  const Tensor slots = traced(call.trace, "slots");
  const int64_t first = model.options.landmark.miss && fresh ? 1 : 0, count = slots.size(1) - first;
  call.logits = model.decoder->logits(slots.narrow(1, first, count));
  call.ids = traced(call.trace, "slot_ids").narrow(1, first, count);
  call.start = traced(call.trace, "positions")[0][first];
  return call;
}

void put_selections(const Model& model, const LandmarkCall& call, const std::string& prefix, bool raw,
                    Results& results) {
  const std::string& select = model.options.landmark.select;
  const auto all = [&](const std::string& name) {  // [B, H, T, n]
    std::vector<Tensor> rows;
    for (const Trace::Item& i : call.trace.items) {
      if (i.name == name) rows.push_back(i.value.transpose(0, 1));
    }
    return rows.empty() ? Tensor() : at::stack(rows);
  };
  for (int64_t l = 0; l < model.decoder->config().layers; ++l) {
    const std::string number = std::to_string(l), at = prefix + ".layer" + number;
    Tensor selected = all("selected." + number), scores = all("block_scores." + number);
    if (!selected.defined()) continue;
    if (!raw || select == "max_over_tokens") scores = scores.softmax(-1);
    if (select == "max_over_heads") scores = scores.amax(1, true).expand_as(scores);
    if (select == "max_over_tokens") scores = scores.amax(2, true).expand_as(scores);
    const bool one = raw && select == "max_over_tokens";  // the same for all tokens: written once
    results.put(at + ".selected", (one ? selected.narrow(2, 0, 1) : selected).to(at::kLong));
    results.put(at + ".block_scores", one ? scores.narrow(2, 0, 1) : scores);
  }
}

std::pair<Tensor, Tensor> kept_slots(const Model& model, const Row& row, int64_t layer) {
  const LandmarkSlots slots(model.options.landmark, row);
  const auto [k, v] = row.caches.at("blocks").dense(layer);
  const std::vector<int64_t> shape = {slots.kept(), slots.width(), k.size(1), k.size(2)};
  const Tensor by = -at::arange(slots.width(), at::kLong);
  const Tensor back = rotate(k.reshape(shape), model.decoder->rotary().at(by, k.options()));
  return {back, v.reshape(shape)};
}

std::pair<Tensor, Tensor> window_slots(const Model& model, const Row& row, int64_t layer) {
  const LandmarkSlots slots(model.options.landmark, row);
  const auto [k, v] = row.working.dense(layer);
  const int64_t count = k.size(0) - slots.lead();
  const Tensor keys = k.narrow(0, slots.lead(), count), by = -(slots.base() + at::arange(count, at::kLong));
  return {rotate(keys.unsqueeze(0), model.decoder->rotary().at(by, k.options()))[0],
          v.narrow(0, slots.lead(), count)};
}

Results run_landmark(const GoldenCase& golden) {
  const nlohmann::json memory = golden.section("memory");
  const std::string kind = golden.kind();
  const bool llama = memory.value("variant", "") == "llama";
  if (kind == "op") return run_landmark_op(golden);
  if (kind == "generate") return run_landmark_prompt(golden);
  if (kind == "eval") return run_landmark_evaluation(golden);
  if (kind == "convert") return run_landmark_weights(golden);
  if (golden.has_input("split")) return run_landmark_ungated(golden);
  if (golden.has_input("chunk_lengths")) return run_landmark_chunks(golden);
  if (kind == "train") return llama ? run_landmark_tuning(golden) : run_landmark_scratch(golden);
  if (kind == "read") return run_landmark_softmaxes(golden);
  throw Error(Kind::input, golden.folder() + ": no run of kind '" + kind + "' is known for landmark",
              "known are op, read, train, generate, eval, convert");
}

}  // namespace mneme
