// The reference cases of HMT: documents with recall, generation, the recall alone.
#include "memory/hmt.h"

#include <cmath>

#include "base/error.h"
#include "eval/token_statistics.h"
#include "memory/cuts.h"
#include "memory/original_config.h"
#include "ops/recall.h"
#include "verify/recurrent.h"
#include "verify/run.h"
#include "verify/training.h"

namespace mneme {
namespace {

constexpr int64_t kNear = 3;          // the original's "recent" recall
constexpr double kRecallLoss = 0.05;  // weight of the supervised recall

std::string segment_name(int64_t i, const char* what) { return "seg" + std::to_string(i) + "." + what; }

// One segment of a document that was read in one call, from the trace.
struct Segment {
  Tensor summary, recalled, weights, memory, slots;
  std::vector<int64_t> distance;
  bool short_front = false;  // the reading-speed experiments cut half of the sensory positions only
};

std::vector<Segment> segments_of(const Trace& trace, const HmtOptions& options, bool browses) {
  std::vector<Segment> out;
  for (const Trace::Item& item : trace.items) {
    out.resize(std::max(out.size(), static_cast<size_t>(item.segment) + 1));
    Segment& s = out[static_cast<size_t>(item.segment)];
    if (item.name == "summary") s.summary = item.value.unsqueeze(1);
    if (item.name == "recalled") s.recalled = item.value.unsqueeze(1);
    if (item.name == "recall_weights") s.weights = item.value;
    if (item.name == "memory") s.memory = item.value;
    if (item.name == "slots") s.slots = item.value;
    if (item.name == "distance") {
      for (int64_t r = 0; r < item.value.size(0); ++r) s.distance.push_back(item.value[r].item<int64_t>());
    }
  }
  for (size_t i = 1; i < out.size(); ++i) {
    const bool near = options.reading != "plain" && !out[i].distance.empty() && out[i].distance[0] < kNear;
    out[i].short_front =
        browses || near || (options.map_from >= 0 && static_cast<int64_t>(i) >= options.map_from);
  }
  return out;
}

class Document {
 public:
  Document(const GoldenCase& golden, CaseModel& c) : golden_(golden), c_(c), options_(c.model.options.hmt) {
    ids_ = golden.input("input_ids");
    if (golden.has_input("attention_mask")) mask_ = golden.input("attention_mask").to(at::kBool);
  }

  // The loss of a step; puts everything else when `results` is given.
  Tensor forward(int64_t step, Results* results) const {
    auto& memory = dynamic_cast<Hmt&>(*c_.model.memory);
    memory.set_map(/*inverse=*/step % 2 == 0);  // its direction turns at each call
    Batch batch;
    batch.ids = ids_;
    batch.mask = mask_;
    batch.finish = true;
    State state = c_.model.initial(ids_.size(0));
    Trace trace;
    trace.slots = true;
    ReadOptions read_options;
    read_options.trace = &trace;
    read(c_.model, batch, state, read_options);
    const bool browses = value_or<std::string>(golden_.section("call"), "mode", "") == "browse";
    const std::vector<Segment> segments = segments_of(trace, options_, browses);
    std::vector<Tensor> logits;
    int64_t at = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      const int64_t sensory = sensory_count(static_cast<int64_t>(i), at),
                    vectors = options_.mode == "baseline" ? 0 : 1;
      const int64_t tokens = segments[i].slots.size(1) - 2 * vectors - sensory;
      const int64_t cut = segments[i].short_front ? std::min(options_.sensory / 2, sensory) : sensory;
      const int64_t front = vectors + cut;
      logits.push_back(c_.model.decoder->logits(
          segments[i].slots.narrow(1, front, segments[i].slots.size(1) - vectors - front)));
      if (results) show(static_cast<int64_t>(i), segments[i], at, tokens, sensory, logits.back(), *results);
      at += tokens;
    }
    return loss(segments, logits, results);
  }

 private:
  int64_t sensory_count(int64_t segment, int64_t at) const {
    const bool used = options_.mode == "hmt" || options_.mode == "stage1";
    return used && segment > 0 ? std::min(options_.sensory, at) : 0;
  }

  void show(int64_t i, const Segment& s, int64_t at, int64_t tokens, int64_t sensory, const Tensor& logits,
            Results& results) const {
    results.put(segment_name(i, "input_ids"), ids_.narrow(1, at, tokens));
    if (sensory > 0) results.put(segment_name(i, "sensory_ids"), ids_.narrow(1, at - sensory, sensory));
    results.put(segment_name(i, "summary"), s.summary);
    results.put(segment_name(i, "recalled"), s.recalled);
    results.put(segment_name(i, "memory"), s.memory);
    results.put(segment_name(i, "logits"), logits);
  }

  Tensor loss(const std::vector<Segment>& segments, std::vector<Tensor> logits, Results* results) const {
    const nlohmann::json memory = golden_.section("memory"), call = golden_.section("call");
    const auto kept = static_cast<size_t>(value_or<int64_t>(memory, "num_seg_save", 5));
    if (logits.size() > kept) logits.erase(logits.begin(), logits.end() - static_cast<std::ptrdiff_t>(kept));
    const Tensor full = at::cat(logits, 1);
    if (results) results->put("logits", full);
    if (!golden_.has_input("labels")) return full.sum() * 0;
    int64_t window = value_or(call, "mask_size", value_or(memory, "mask_size", options_.segment));
    if (ids_.size(1) <= window) window = ids_.size(1) - 1;
    if (full.size(1) < window + 1) {
      throw Error(Kind::input,
                  golden_.folder() + ": the loss is over " + std::to_string(window) +
                      " labels, but the last " + std::to_string(kept) + " segments hold " +
                      std::to_string(full.size(1)) + " tokens",
                  "raise num_seg_save or lower mask_size");
    }
    const Tensor labels = golden_.input("labels");
    const Tensor target = labels.narrow(1, labels.size(1) - window, window).reshape(-1);
    const Tensor predicted = full.narrow(1, full.size(1) - window - 1, window).reshape({-1, full.size(2)});
    const Tensor lm = at::cross_entropy_loss(predicted, target, {}, at::Reduction::Mean, -100);
    Tensor recall_loss = at::zeros({}, lm.options());
    if (golden_.has_input("pos_mask") && segments.back().weights.defined())
      recall_loss = supervised_recall(segments.back().weights, segments.size() - 1);
    if (results) {
      results->put("ppl", lm.detach().exp());
      results->put("ret_loss", recall_loss.detach());
      const TokenStatistics s = token_statistics(target, predicted.argmax(-1));
      results->put("f1.accuracy", at::scalar_tensor(s.accuracy, at::kDouble));
      results->put("f1.precision", at::scalar_tensor(s.precision, at::kDouble));
      results->put("f1.recall", at::scalar_tensor(s.recall, at::kDouble));
      results->put("f1.f1", at::scalar_tensor(s.f1, at::kDouble));
      std::vector<int64_t> hist;
      for (const Segment& seg : segments) hist.insert(hist.end(), seg.distance.begin(), seg.distance.end());
      results->put("hist", at::tensor(hist, at::kLong));
    }
    return lm + kRecallLoss * recall_loss;
  }

  // Cross entropy of the last recall's weights, which are a softmax already, against the given shares.
  Tensor supervised_recall(const Tensor& weights, size_t earlier) const {
    const Tensor mask = golden_.input("pos_mask").to(at::kFloat);
    if (weights.size(1) != static_cast<int64_t>(earlier) || mask.size(1) < weights.size(1)) {
      throw Error(Kind::input, golden_.folder() + ": pos_mask speaks of " + std::to_string(mask.size(1)) +
                                   " segments, the last of " + std::to_string(earlier + 1) +
                                   " recalls from " + std::to_string(weights.size(1)));
    }
    Tensor t = mask.narrow(1, 0, weights.size(1));
    t = (t / t.abs().sum(1, true).clamp_min(1e-12)).to(weights.scalar_type());
    return -(t * weights.log_softmax(-1)).sum(1).mean();
  }

  const GoldenCase& golden_;
  CaseModel& c_;
  HmtOptions options_;
  Tensor ids_, mask_;
};

Results read_document(const GoldenCase& golden, CaseModel& c) {
  Results results;
  const Document document(golden, c);
  const auto forward = [&](int64_t step) { return document.forward(step, step == 0 ? &results : nullptr); };
  const bool trains = golden.expects("grad_norm") || golden.expects_count("grad.*") > 0 ||
                      golden.expects_count("after_step.*") > 0 || golden.expects_count("loss_step*") > 0;
  if (trains) {
    run_training(golden, c.trained, c.naming, forward, results);
  } else {
    const at::NoGradGuard no_grad;
    results.put("loss", forward(0));
  }
  return results;
}

Results generate(const GoldenCase& golden, const CaseModel& c) {
  const at::NoGradGuard no_grad;
  Results results;
  const HmtOptions& options = c.model.options.hmt;
  const Tensor ids = golden.input("input_ids");
  const Tensor mask = golden.has_input("attention_mask") ? golden.input("attention_mask") : Tensor();
  const std::vector<int64_t> ends =
      segment_ends(ids.size(1), options.segment,
                   value_or<std::string>(golden.section("memory"), "segment_alignment", "left"));
  const auto begin_of = [&](size_t i) { return i ? ends[i - 1] : 0; };
  State state = c.model.initial(ids.size(0));
  const auto skipped =
      static_cast<size_t>(value_or<int64_t>(golden.section("generate"), "mem_seq_segments", 0));
  if (skipped >= ends.size()) {
    throw Error(Kind::input, golden.folder() + ": mem_seq_segments leaves nothing of a prompt of " +
                                 std::to_string(ends.size()) + " segments");
  }
  if (skipped > 0) {
    const Tensor given = golden.input("mem_seq");
    const Tensor memories = given.expand({ids.size(0), given.size(1), given.size(2)});
    const int64_t begin = begin_of(skipped - 1), end = ends[skipped - 1];
    for (int64_t r = 0; r < state.size(); ++r) {
      Row& row = state.rows[static_cast<size_t>(r)];
      row.tensors["memories"] = memories[r];
      row.segment = static_cast<int64_t>(skipped);
      const Tensor before = ids[r].narrow(0, begin, end - begin).contiguous();
      row.previous.assign(before.data_ptr<int64_t>(), before.data_ptr<int64_t>() + before.numel());
    }
  }
  Tensor logits;
  for (size_t i = skipped; i < ends.size(); ++i) {
    const auto shown = static_cast<int64_t>(i - skipped);
    const int64_t begin = begin_of(i);
    const bool last = i + 1 == ends.size();
    Trace trace;
    ReadOptions read_options;
    read_options.trace = &trace;
    Batch batch = segment_batch(ids, mask, begin, ends[i], !last);
    batch.count_seen = last;  // generation's own positions
    const Tensor all = c.model.decoder->logits(read(c.model, batch, state, read_options).hidden);
    if (const Tensor s = traced(trace, "summary"); s.defined())
      results.put(segment_name(shown, "summary"), s.unsqueeze(1));
    if (const Tensor p = traced(trace, "recalled"); p.defined())
      results.put(segment_name(shown, "recalled"), p.unsqueeze(1));
    logits = all.select(1, all.size(1) - 1);
    if (last) break;
    results.put(segment_name(shown, "input_ids"), batch.ids);
    const int64_t sensory = i ? std::min(options.sensory, begin - begin_of(i - 1)) : 0;
    if (sensory > 0) results.put(segment_name(shown, "sensory_ids"), ids.narrow(1, begin - sensory, sensory));
    if (const Tensor m = traced(trace, "memory"); m.defined()) results.put(segment_name(shown, "memory"), m);
    results.put(segment_name(shown, "logits"), all);
  }
  generate_greedily(
      golden, logits,
      [&](const Tensor& tokens) {
        Batch batch = segment_batch(tokens, {}, 0, 1, false);
        batch.count_seen = true;
        const Tensor hidden = read(c.model, batch, state).hidden;
        return c.model.decoder->logits(hidden.select(1, 0));
      },
      results);
  return results;
}

// A matrix by formula: (((i * mul_i + j * mul_j + (i * j) % ij_mod) % mod) - sub) / den.
Tensor formula(const nlohmann::json& f, double den, int64_t size) {
  Tensor out = at::empty({size, size}, at::kFloat);
  float* data = out.data_ptr<float>();
  const auto n = [&](const char* key) { return f.at(key).get<int64_t>(); };
  const int64_t mi = n("mul_i"), mj = n("mul_j"), im = n("ij_mod"), m = n("mod"), sub = n("sub");
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      data[i * size + j] =
          static_cast<float>(static_cast<double>((i * mi + j * mj + (i * j) % im) % m - sub) / den);
    }
  }
  return out;
}

Results recall_alone(const GoldenCase& golden) {
  const at::NoGradGuard no_grad;
  Results results;
  const nlohmann::json memory = golden.section("memory"), weights = memory.at("weights");
  const int64_t width = memory.at("mem_recall_hidden_dim").get<int64_t>(),
                embed = memory.at("d").get<int64_t>();
  const double den = weights.at("den").get<double>();
  const Tensor wq = formula(weights.at("wq"), den, width), wk = formula(weights.at("wk"), den, width);
  const Tensor cache = golden.input("cache"), summary = golden.input("summary").squeeze(1);
  const std::vector<int64_t> count(static_cast<size_t>(cache.size(0)), cache.size(1));
  for (const bool training : {true, false}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const Recalled r = recall(cache, count, summary, wq, wk, recall_divisor(width, embed, training), type);
      const std::string name = std::string(training ? "train." : "generate.") + dtype_name(type);
      results.put(name + ".recalled", r.vectors.unsqueeze(1));
      std::vector<int64_t> distance;
      for (int64_t b : r.best) distance.push_back(cache.size(1) - b);
      results.put(name + ".hist", at::tensor(distance, at::kLong));
    }
  }
  return results;
}

}  // namespace

Results run_hmt(const GoldenCase& golden) {
  if (golden.kind() == "op") return recall_alone(golden);
  MemoryOptions options = from_original_config(golden.section("memory"));
  const nlohmann::json call = golden.section("call");
  const auto reading = value_or<std::string>(call, "mode", "train");
  if (reading != "train" && reading != "test" && reading != "browse") {
    throw Error(Kind::input, golden.folder() + ": call.mode '" + reading + "' is not known",
                "known are train, test and browse");
  }
  if (reading == "test" && options.hmt.mode == "hmt")  // the reduced modes recall nothing
    options.hmt.reading = "dynamic_first_row";
  options.hmt.extra = value_or<int64_t>(call, "extra_size", 0);
  options.hmt.map_from = value_or<int64_t>(call, "switch_at", -1);
  if (golden.kind() ==
      "generate") {  // the original summarises half a segment and never divides by the width here
    options.hmt.summary_tokens = std::max<int64_t>(1, options.hmt.segment / 2);
    options.hmt.recall_scale = "sqrt";
    CaseModel c = load_case_model(golden, options);
    return generate(golden, c);
  }
  if (golden.kind() == "read" || golden.kind() == "train") {
    CaseModel c = load_case_model(golden, options);
    return read_document(golden, c);
  }
  throw Error(Kind::input, golden.folder() + ": no run of kind '" + golden.kind() + "' is known for hmt",
              "known are read, train, generate, op");
}

}  // namespace mneme
