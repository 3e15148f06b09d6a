// Landmark's reference cases of training: micro-batches from scratch, a fine-tuning step of LLaMA.
#include <algorithm>

#include "data/recipes_landmark.h"
#include "memory/landmark.h"
#include "ops/adamw.h"
#include "verify/landmark.h"

namespace mneme {
namespace {

std::vector<int32_t> list(const Tensor& ids) {
  const Tensor flat = ids.to(at::kInt).contiguous();
  return {flat.data_ptr<int32_t>(), flat.data_ptr<int32_t>() + flat.numel()};
}

Tensor tensor_of(const std::vector<int32_t>& ids) { return at::tensor(ids, at::kInt).to(at::kLong); }

// Landmark with the gaps of positions that the original drew.
class GivenGaps : public Landmark {
 public:
  GivenGaps(const Decoder& decoder, const LandmarkMemoryOptions& options) : Landmark(decoder, options) {}
  Tensor gaps;  // [B, T], by slot

 protected:
  int64_t gap(const Draws&, int64_t row, int64_t slot) const override {
    return slot < gaps.size(1) ? gaps[row][slot].item<int64_t>() : 0;
  }
};

// Gradients as they are summed, and one update of AdamW if the case has one.
void put_update(const GoldenCase& golden, const CaseModel& c, Results& results) {
  const nlohmann::json memory = golden.section("memory");
  std::vector<Tensor> gradients;
  for (const Parameter& p : c.all) {
    const Tensor g = p.value().grad();
    if (!g.defined()) continue;
    const FileName name = c.naming(p);
    results.put("grad." + name.name, to_file_layout(name, g).clone());
    gradients.push_back(g);
  }
  const double norm = global_norm(gradients);
  results.put("grad_norm", at::scalar_tensor(norm, at::kFloat));
  if (!memory.contains("train")) return;
  const nlohmann::json& train = memory.at("train");
  const bool clips = !train.at("grad_clip").is_null();
  const double factor = clips ? std::min(1.0, train.at("grad_clip").get<double>() / (norm + 1e-6)) : 1.0;
  const bool all = train.at("decay").get<std::string>() == "all";
  std::vector<AdamwStep> steps;
  for (const Parameter& p : c.all) {
    AdamwStep step;
    step.param = p.value();
    if (!step.param.grad().defined()) continue;
    step.grad = step.param.grad() * factor;
    step.exp_avg = at::zeros_like(step.param);
    step.exp_avg_sq = at::zeros_like(step.param);
    step.lr = train.at("lr").get<double>();
    step.weight_decay = all || p.matrix ? train.at("weight_decay").get<double>() : 0;
    const FileName name = c.naming(p);
    results.gradients["after." + name.name].push_back(to_file_layout(name, step.grad).clone());
    steps.push_back(step);
  }
  adamw_step(steps, {train.at("beta1").get<double>(), train.at("beta2").get<double>(),
                     train.at("eps").get<double>()});
  for (const Parameter& p : c.all) {
    const FileName name = c.naming(p);
    results.put("after." + name.name, to_file_layout(name, p.value().detach()));
  }
}

}  // namespace

Results run_landmark_scratch(const GoldenCase& golden) {
  CaseModel c = landmark_model(golden);
  const LandmarkMemoryOptions& options = c.model.options.landmark;
  const auto id = static_cast<int32_t>(options.id);
  auto memory = std::make_unique<GivenGaps>(*c.model.decoder, options);
  for (const Parameter& p : memory->parameters()) {
    for (const Parameter& own : c.model.memory->parameters()) {
      if (own.name == p.name) p.set(own.value());
    }
  }
  GivenGaps& gaps = *memory;
  c.model.memory = std::move(memory);
  for (const Parameter& p : c.model.parameters()) p.value().set_requires_grad(true);
  Results results;
  const std::vector<int32_t> stream = landmark_stream(list(golden.input("raw_stream")), options.block, id);
  results.put("stream", tensor_of(stream));
  const auto end = golden.section("memory").at("train").at("eot_id").get<int32_t>();
  const Draws draws{};  // training; everything that is drawn is given, or certain
  for (int m = 0; golden.has_input("micro" + std::to_string(m) + ".start"); ++m) {
    const std::string at = "micro" + std::to_string(m);
    const Tensor starts = golden.input(at + ".start");
    const int64_t length = golden.expected_shape(at + ".input_ids").at(1);
    if (golden.has_input(at + ".jump_draws")) gaps.gaps = golden.input(at + ".jump_draws");
    std::vector<Tensor> windows, labels;
    for (const int64_t s : list(starts)) {
      windows.push_back(tensor_of({stream.begin() + s, stream.begin() + s + length}));
      labels.push_back(tensor_of(landmark_labels(stream, s, length, id, end)));
    }
    State state = c.model.initial(starts.numel());
    const Batch batch = without_landmarks(at::stack(windows), id, options.block, state);
    const LandmarkCall call = landmark_call(c.model, batch, state, &draws);
    const Tensor logits = call.logits.narrow(1, 0, length);
    const Tensor loss = label_loss(logits, at::stack(labels), -1);
    results.put(at + ".input_ids", call.ids.narrow(1, 0, length));
    results.put(at + ".labels", at::stack(labels));
    results.put(at + ".logits", logits.detach());
    results.put(at + ".loss", loss.detach());
    loss.backward();
  }
  c.all = c.model.parameters();
  put_update(golden, c, results);
  return results;
}

Results run_landmark_tuning(const GoldenCase& golden) {
  CaseModel c = landmark_model(golden);
  for (const Parameter& p : c.all) p.value().set_requires_grad(true);
  Results results;
  const LandmarkMemoryOptions& options = c.model.options.landmark;
  const Tensor ids = golden.input("input_ids"), labels = golden.input("labels");
  State state = c.model.initial(ids.size(0));
  Batch batch = without_landmarks(ids, options.id, options.block, state);
  const bool fused = value_or(golden.section("memory"), "use_flash", false);  // its kernel looks at no mask
  if (golden.has_input("attention_mask") && !fused) {  // of slots; landmarks are as visible as what precedes
    const Tensor mask = golden.input("attention_mask").to(at::kBool), text = ids != options.id;
    batch.mask = at::zeros(batch.ids.sizes(), at::kBool);
    for (int64_t b = 0; b < ids.size(0); ++b) {
      const Tensor seen = mask[b].masked_select(text[b]);
      batch.mask[b].narrow(0, 0, seen.size(0)).copy_(seen);
    }
  }
  const LandmarkCall call = landmark_call(c.model, batch, state);
  const bool inside = value_or(golden.section("memory"), "auto_insert_landmarks", false);
  const int64_t length = labels.size(1);
  const Tensor logits = inside ? c.model.decoder->logits(call.hidden) : call.logits.narrow(1, 0, length);
  const Tensor loss = label_loss(logits.narrow(1, 0, length - 1), labels.narrow(1, 1, length - 1), -100);
  results.put("logits", logits.detach());
  results.put("loss", loss.detach());
  loss.backward();
  put_update(golden, c, results);
  return results;
}

}  // namespace mneme
