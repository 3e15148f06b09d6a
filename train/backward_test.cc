#include "train/backward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "memory/law_cases.h"
#include "memory/read.h"

namespace mneme {
namespace {

// Loss and gradients, by name, of some texts.
struct Result {
  double loss = 0;
  std::map<std::string, Tensor> gradients;
};

class Backward : public ::testing::TestWithParam<LawCase> {
 protected:
  Backward() : model_(law_model(GetParam())) {
    for (const Parameter& p : model_.parameters()) p.value().set_requires_grad(true);
    sample_.ids = law_text(3, 42, 21);
    sample_.labels = law_text(3, 42, 22);
    sample_.labels.narrow(1, 0, 5).fill_(-100);
    sample_.labels[1].fill_(-100);  // a text that only reads
    sample_.labels[1][41] = 3;
  }

  Result run(const TrainOptions& options, const std::vector<Sample>& parts, const Draws* draws = nullptr) {
    for (const Parameter& p : model_.parameters()) p.value().mutable_grad() = Tensor();
    Result out;
    const Draws training{.site = {.seed = 4}, .dropout = {}, .rows = {}};
    const int64_t count =
        labelled_positions(model_, sample_, training_segment(model_, 42), draws ? draws : &training);
    for (const Sample& part : parts)
      out.loss +=
          backward(model_, part, training_segment(model_, 42), count, options, draws ? draws : &training)
              .loss;
    for (const Parameter& p : model_.parameters()) {
      if (p.value().grad().defined()) out.gradients[p.name] = p.value().grad().clone();
    }
    return out;
  }
  Result run(const TrainOptions& options, const Draws* draws = nullptr) {
    return run(options, std::vector<Sample>{sample_}, draws);
  }

  static void expect_equal(const Result& a, const Result& b, const std::string& what) {
    EXPECT_NEAR(a.loss, b.loss, 1e-12) << what;
    EXPECT_EQ(a.gradients.size(), b.gradients.size()) << what;
    for (const auto& [name, g] : a.gradients) {
      const auto other = b.gradients.find(name);
      ASSERT_NE(other, b.gradients.end()) << what << " " << name;
      const double scale = std::max(1.0, g.abs().max().item<double>());
      EXPECT_LT((g - other->second).abs().max().item<double>(), 1e-11 * scale) << what << " " << name;
    }
  }

  Model model_;
  Sample sample_;
};

TEST_P(Backward, ReplayEqualsTheUnrolledGraph) {
  for (const auto& [truncation, depth] : {std::pair{"none", -1}, std::pair{"detach_before", 1},
                                          std::pair{"detach_before", 3}, std::pair{"detach_after", 2}}) {
    TrainOptions unrolled, replay;
    unrolled.truncation = replay.truncation = truncation;
    unrolled.depth = replay.depth = depth;
    replay.backward = "replay";
    expect_equal(run(unrolled), run(replay), std::string(truncation) + " " + std::to_string(depth));
  }
}

TEST_P(Backward, DropoutIsDrawnAgainInAReplay) {
  const Draws draws{{.seed = 5, .step = 8, .row = 2}, {0.1, 0.2, 0.3}, {}};
  const Draws later{{.seed = 5, .step = 9, .row = 2}, {0.1, 0.2, 0.3}, {}};
  TrainOptions unrolled, replay;
  replay.backward = "replay";
  const Result once = run(unrolled, &draws);
  expect_equal(once, run(replay, &draws), "replay");
  EXPECT_NE(once.loss, run(unrolled, &later).loss);
  EXPECT_NE(once.loss, run(unrolled).loss);
}

TEST_P(Backward, RecomputedLayersGiveTheSameGradients) {
  const Draws draws{{.seed = 5, .step = 8, .row = 2}, {0.1, 0.2, 0.3}, {}};
  TrainOptions options, replay;
  replay.backward = "replay";
  const Result plain = run(options, &draws);
  model_.decoder->recompute = true;
  expect_equal(plain, run(options, &draws), "unrolled");
  expect_equal(plain, run(replay, &draws), "replay");
}

TEST_P(Backward, PartsOfABatchAddUp) {
  const auto row = [&](int64_t r, int64_t n) {
    return Sample{sample_.ids.narrow(0, r, n), sample_.labels.narrow(0, r, n)};
  };
  TrainOptions options;
  expect_equal(run(options), run(options, {row(0, 2), row(2, 1)}), "parts");
}

INSTANTIATE_TEST_SUITE_P(Registry, Backward, ::testing::ValuesIn(law_cases()), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

// Landmarks in the loss: the labels are counted, the mask holds for them, and each method of predicting adds
// the terms of its definition.
TEST(BackwardExtra, LandmarksInTheLoss) {
  LawCase c;
  for (const LawCase& each : law_cases()) {
    if (each.name == "landmark/llama") c = each;
  }
  ASSERT_EQ(c.options.method, "landmark");
  c.options.landmark.block = 4;
  c.options.landmark.random_phase = false;
  Sample s{law_text(2, 22, 5), law_text(2, 22, 6)};
  s.labels.narrow(1, 0, 6).fill_(-100);  // the first of five landmarks a text is masked
  const Draws draws{.site = {.seed = 4}, .dropout = {}, .rows = {}};
  const auto total = [&](bool predicts, bool loss) {
    LawCase each = c;
    each.options.landmark.id = 28;
    each.options.landmark.landmark_predicts = predicts;
    each.options.landmark.landmark_loss = loss;
    Sample text{s.ids.clamp_max(27), s.labels.clamp_max(27)};
    const Model model = law_model(each);
    for (const Parameter& p : model.parameters()) p.value().set_requires_grad(true);
    const StepResult r = backward(model, text, 22, 1, {}, &draws);
    EXPECT_EQ(labelled_positions(model, text, 22, &draws), r.labelled);
    EXPECT_EQ(r.labelled, 2 * (16 + (loss ? 4 : 0)));
    // By hand: all slots of the window, [token x 4, landmark] and so on.
    Trace trace;
    trace.slots = true;
    ReadOptions options;
    options.trace = &trace;
    Batch batch;
    batch.ids = text.ids;
    each.options.landmark.segment = 1000;
    const Model one = law_model(each);
    State state = one.initial(2);
    read(one, batch, state, options);
    double expected = 0;
    Tensor slots;
    for (const Trace::Item& item : trace.items) slots = item.name == "slots" ? item.value : slots;
    const Tensor logs = one.decoder->logits(slots).log_softmax(-1);
    for (int64_t r2 = 0; r2 < 2; ++r2) {
      for (int64_t t = 6; t < 22; ++t) {
        const int64_t label = text.labels[r2][t].item<int64_t>(), slot = t + t / 4;
        const bool closes = t % 4 == 3;
        const auto term = [&](int64_t at, int64_t token) { expected -= logs[r2][at][token].item<double>(); };
        term(closes && predicts ? slot + 1 : slot, label);
        if (!closes || !loss) continue;
        predicts ? term(slot, 28) : term(slot + 1, label);
      }
    }
    EXPECT_NEAR(r.loss, expected, 1e-9);
    return r.loss;
  };
  const double none = total(false, false), both = total(false, true);
  EXPECT_GT(both, none);
  EXPECT_GT(total(true, true), total(true, false));
}

// The gradient of that loss is the slope of its value, with a random phase, too, and its labels are counted
// as they are read where a row is empty.
TEST(BackwardExtra, LandmarksInTheLossHaveItsSlope) {
  LawCase c;
  for (const LawCase& each : law_cases()) {
    if (each.name == "landmark/llama") c = each;
  }
  c.options.landmark.block = 4;
  c.options.landmark.random_phase = true;
  c.options.landmark.id = 28;
  c.options.landmark.landmark_loss = true;
  Sample text{law_text(2, 22, 5).clamp_max(27), law_text(2, 22, 6).clamp_max(27)};
  const Draws draws{.site = {.seed = 4}, .dropout = {}, .rows = {}};
  for (const bool predicts : {false, true}) {
    c.options.landmark.landmark_predicts = predicts;
    const Model model = law_model(c);
    for (const Parameter& p : model.parameters()) p.value().set_requires_grad(true);
    backward(model, text, 22, 1, {}, &draws);
    std::vector<Tensor> way;
    double slope = 0;
    for (const Parameter& p : model.parameters()) {
      way.push_back(p.value().grad().defined() ? p.value().grad().clone() : at::zeros_like(p.value()));
      slope += way.back().square().sum().item<double>();
    }
    const auto loss_at = [&](double step) {
      const at::NoGradGuard no_grad;
      size_t i = 0;
      for (const Parameter& p : model.parameters()) p.value().add_(way[i++], step);
      const at::AutoGradMode grad(true);
      return backward(model, text, 22, 1, {}, &draws).loss;
    };
    const double h = 1e-5 / std::sqrt(slope);
    const double ahead = loss_at(h), behind = loss_at(-2 * h);
    EXPECT_NEAR((ahead - behind) / (2 * h), slope, 1e-6 * slope) << predicts;

    Sample uneven = text;
    uneven.count = at::tensor({int64_t{22}, int64_t{0}});
    uneven.labels = text.labels.clone();
    uneven.labels[1].fill_(-100);
    Batch batch;
    batch.ids = uneven.ids;
    batch.count = {22, 0};
    ReadOptions options;
    options.draws = &draws;
    State state = model.initial(2);
    int64_t terms = 22;
    for (const Prediction& x : read(model, batch, state, options).extra)
      terms += static_cast<int64_t>(x.at.size());
    EXPECT_EQ(labelled_positions(model, uneven, 22, &draws), terms);
  }
}

// What truncation does to RMT's chain: the first memory gets a gradient only through joined segments.
TEST(BackwardTruncation, CutsTheChain) {
  LawCase c;
  for (const LawCase& each : law_cases()) {
    if (each.name == "rmt/llama") c = each;
  }
  const Model model = law_model(c);
  for (const Parameter& p : model.parameters()) p.value().set_requires_grad(true);
  Sample s{law_text(1, 28, 5), law_text(1, 28, 6)};
  s.labels.narrow(1, 0, 21).fill_(-100);  // the loss is of the last of four segments
  const auto first_memory = [&](int64_t depth) {
    const Tensor memory = model.memory->parameters().front().value();
    memory.mutable_grad() = Tensor();
    TrainOptions o;
    o.depth = depth;
    backward(model, s, 7, labelled_positions(s), o, nullptr);
    return memory.grad().defined() ? memory.grad().norm().item<double>() : 0.0;
  };
  EXPECT_EQ(first_memory(3), 0);
  EXPECT_GT(first_memory(4), 0);
  EXPECT_EQ(first_memory(4), first_memory(-1));
}

}  // namespace
}  // namespace mneme
