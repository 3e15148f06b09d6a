// The reference cases of RMT: training over segments, generation.
#include "base/error.h"
#include "memory/cuts.h"
#include "memory/original_config.h"
#include "memory/pass.h"
#include "train/truncation.h"
#include "verify/recurrent.h"
#include "verify/run.h"
#include "verify/training.h"

namespace mneme {
namespace {

std::string segment_name(size_t i, const char* what) { return "seg" + std::to_string(i) + "." + what; }

struct Inputs {
  Tensor ids, mask;
  std::vector<int64_t> ends;
};

Inputs read_inputs(const GoldenCase& golden, const MemoryOptions& options) {
  Inputs in{golden.input("input_ids"), {}, {}};
  if (golden.has_input("attention_mask")) in.mask = golden.input("attention_mask");
  in.ends = segment_ends(in.ids.size(1), options.rmt.segment,
                         value_or<std::string>(golden.section("memory"), "segment_alignment", "left"));
  return in;
}

// One closed segment; puts its tokens, memory and logits if `results` is given. Returns the logits.
Tensor read_segment(const Model& model, const Inputs& in, size_t i, State& state, Results* results) {
  const int64_t begin = i ? in.ends[i - 1] : 0;
  const Batch batch = segment_batch(in.ids, in.mask, begin, in.ends[i], true);
  Trace trace;
  ReadOptions options;
  options.trace = &trace;
  const Tensor logits = model.decoder->logits(read(model, batch, state, options).hidden);
  if (results) {
    results->put(segment_name(i, "input_ids"), batch.ids);
    if (const Tensor memory = traced(trace, "memory"); memory.defined())
      results->put(segment_name(i, "memory"), memory);
    results->put(segment_name(i, "logits"), logits);
  }
  return logits;
}

Tensor loss_of(const GoldenCase& golden, const Tensor& logits) {
  if (!golden.has_input("labels")) return logits.sum() * 0;  // the original's loss without labels
  const int64_t length = logits.size(1);
  Tensor scores = logits.narrow(1, 0, length - 1).reshape({-1, logits.size(2)});
  Tensor labels = golden.input("labels").narrow(1, 1, length - 1).reshape(-1);
  if (golden.has_input("labels_mask")) {  // the mask is of the input's positions
    const Tensor chosen =
        golden.input("labels_mask").narrow(1, 0, length - 1).reshape(-1).nonzero().squeeze(1);
    scores = scores.index_select(0, chosen);
    labels = labels.index_select(0, chosen);
  }
  return at::cross_entropy_loss(scores, labels, {}, at::Reduction::Mean, -100);
}

Results train(const GoldenCase& golden, CaseModel& c) {
  Results results;
  const Inputs in = read_inputs(golden, c.model.options);
  const nlohmann::json memory = golden.section("memory");
  const Truncation kind = parse_truncation(value_or<std::string>(memory, "bptt_semantics", "none"));
  const int64_t depth = value_or<int64_t>(memory, "k2", -1),
                segments = value_or<int64_t>(memory, "max_n_segments", 1);
  const auto forward = [&](int64_t step) {
    State state = c.model.initial(in.ids.size(0));
    std::vector<Tensor> logits;
    for (size_t i = 0; i < in.ends.size(); ++i) {
      const Cuts cuts = cuts_at(kind, static_cast<int64_t>(i), segments, depth);
      if (cuts.before) state = state.detached();
      logits.push_back(read_segment(c.model, in, i, state, step == 0 ? &results : nullptr));
      if (cuts.after) state = state.detached();
    }
    const Tensor all = at::cat(logits, 1);
    if (step == 0) results.put("logits", all);
    return loss_of(golden, all);
  };
  run_training(golden, c.trained, c.naming, forward, results);
  return results;
}

// The early code generates behind the write memory: [P, tokens, P, new tokens], a layout of its own.
void generate_behind_memory(const GoldenCase& golden, const Model& model, const Inputs& in, State& state,
                            Results& results) {
  const int64_t begin = in.ends.size() > 1 ? in.ends[in.ends.size() - 2] : 0, rows = in.ids.size(0);
  const auto run = [&](const std::function<RowSlots(int64_t)>& slots) {
    std::vector<RowSlots> all;
    for (int64_t r = 0; r < rows; ++r) {
      Row& row = state.rows[static_cast<size_t>(r)];
      all.push_back(slots(r));
      all.back().cache = &row.working;
      all.back().hidden = &row.hidden;
      all.back().position = row.working.size();
    }
    Pass pass(*model.decoder, std::move(all));
    const Tensor hidden = pass.run();
    return model.decoder->logits(hidden.select(1, hidden.size(1) - 1));
  };
  const Tensor prompt = in.ids.narrow(1, begin, in.ids.size(1) - begin).contiguous();
  const int64_t memory_tokens = model.options.rmt.memory_tokens;
  const Tensor logits = run([&](int64_t r) {
    const Row& row = state.rows[static_cast<size_t>(r)];
    const auto own = row.tensors.find("memory");
    const Tensor memory = own == row.tensors.end() ? model.memory->parameters()[0].value() : own->second;
    const int64_t* line = prompt.data_ptr<int64_t>() + r * prompt.size(1);
    RowSlots slots;
    slots.pieces = {{memory, {}}, {{}, {line, line + prompt.size(1)}}, {memory, {}}};
    slots.count_seen = true;
    if (in.mask.defined()) {
      slots.seen.assign(static_cast<size_t>(2 * memory_tokens + prompt.size(1)), 1);
      for (int64_t t = 0; t < prompt.size(1); ++t) {
        slots.seen[static_cast<size_t>(memory_tokens + t)] = in.mask[r][begin + t].item<int64_t>() != 0;
      }
    }
    return slots;
  });
  generate_greedily(
      golden, logits,
      [&](const Tensor& tokens) {
        return run([&](int64_t r) {
          RowSlots slots;
          slots.pieces = {{{}, {tokens[r][0].item<int64_t>()}}};
          slots.count_seen = true;
          return slots;
        });
      },
      results);
}

Results generate(const GoldenCase& golden, const CaseModel& c) {
  const at::NoGradGuard no_grad;
  Results results;
  const Inputs in = read_inputs(golden, c.model.options);
  State state = c.model.initial(in.ids.size(0));
  for (size_t i = 0; i + 1 < in.ends.size(); ++i) read_segment(c.model, in, i, state, &results);
  if (value_or(golden.section("memory"), "generate_write_memory", false)) {
    generate_behind_memory(golden, c.model, in, state, results);
    return results;
  }
  const auto last_logits = [&](Batch batch) {
    batch.count_seen = true;
    const Tensor hidden = read(c.model, batch, state).hidden;
    return c.model.decoder->logits(hidden.select(1, hidden.size(1) - 1));
  };
  const int64_t begin = in.ends.size() > 1 ? in.ends[in.ends.size() - 2] : 0;
  generate_greedily(
      golden, last_logits(segment_batch(in.ids, in.mask, begin, in.ids.size(1), false)),
      [&](const Tensor& tokens) { return last_logits(segment_batch(tokens, {}, 0, 1, false)); }, results);
  return results;
}

}  // namespace

Results run_rmt(const GoldenCase& golden) {
  CaseModel c = load_case_model(golden, from_original_config(golden.section("memory")));
  if (golden.kind() == "generate") return generate(golden, c);
  if (golden.kind() == "train" || golden.kind() == "read") return train(golden, c);
  throw Error(Kind::input, golden.folder() + ": no run of kind '" + golden.kind() + "' is known for rmt",
              "known are train, generate");
}

}  // namespace mneme
