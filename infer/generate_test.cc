#include "infer/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "memory/model_folder.h"
#include "memory/read.h"
#include "memory/registry.h"

namespace mneme {
namespace {

Model tiny(const std::string& method) {
  MemoryOptions o;
  o.method = method;
  o.segments.segment = 6;
  o.window.window = 7;
  o.sink = {2, 6};
  o.xl = {5, 8};
  o.memorizing.segment = 6;
  o.rmt = {6, 2};
  o.hmt.segment = 6;
  o.hmt.sensory = 2;
  o.hmt.recall_width = 8;
  return fresh_model("testdata/models/tiny-llama.json", o, 3);
}

class Generation : public ::testing::TestWithParam<const char*> {};

TEST_P(Generation, CachedEqualsReadingAllAnew) {
  const at::NoGradGuard no_grad;
  const Model model = tiny(GetParam());
  GenerateOptions options;
  options.max_tokens = 20;
  State state = model.initial(1);
  const std::vector<int64_t> prompt = {3, 1, 4, 1, 5};
  const Completion c = generate(model, nullptr, {prompt}, {}, options, 0, state)[0];
  ASSERT_EQ(c.ids.size(), 20U);
  EXPECT_EQ(c.reason, "length");
  EXPECT_EQ(state.rows[0].position, 25);
  std::vector<int64_t> text = prompt;
  for (int64_t id : c.ids) {
    State fresh = model.initial(1);
    Batch batch;
    batch.ids = at::tensor(text, at::kLong).unsqueeze(0);
    const Tensor hidden = read(model, batch, fresh).hidden;
    const Tensor logits = model.decoder->logits(hidden[0][hidden.size(1) - 1]);
    // Ties aside, the same token: the logit of the generated one is the largest up to rounding.
    EXPECT_NEAR(logits[id].item<double>(), logits.max().item<double>(), 1e-4);
    text.push_back(id);
  }
}

TEST_P(Generation, SixtyFourTextsOfDifferentPhaseEqualEachAlone) {
  const at::NoGradGuard no_grad;
  const Model model = tiny(GetParam());
  std::vector<std::vector<int64_t>> prompts;
  for (int64_t r = 0; r < 64; ++r) {
    std::vector<int64_t> p;
    for (int64_t t = 0; t <= (r * 7) % 23; ++t) p.push_back((r * 5 + t * 3) % 29);
    prompts.push_back(p);
  }
  GenerateOptions options;
  options.max_tokens = 6;
  State state = model.initial(64);
  const std::vector<Completion> all = generate(model, nullptr, prompts, {}, options, 0, state);
  for (const size_t r : {0U, 13U, 40U, 63U}) {
    State alone = model.initial(1);
    const Completion one = generate(model, nullptr, {prompts[r]}, {}, options, 0, alone)[0];
    EXPECT_EQ(one.ids, all[r].ids) << r;
    for (size_t t = 0; t < one.ids.size(); ++t) EXPECT_NEAR(one.logprobs[t], all[r].logprobs[t], 1e-4);
    EXPECT_EQ(alone.rows[0].position, state.rows[r].position);
  }
}

TEST_P(Generation, ASessionGoesOnWhereItStopped) {
  const at::NoGradGuard no_grad;
  const Model model = tiny(GetParam());
  GenerateOptions all, half;
  all.max_tokens = 12;
  half.max_tokens = 6;
  State once = model.initial(1), twice = model.initial(1);
  const std::vector<int64_t> whole = generate(model, nullptr, {{1, 2, 3}}, {}, all, 0, once)[0].ids;
  std::vector<int64_t> parts = generate(model, nullptr, {{1, 2, 3}}, {}, half, 0, twice)[0].ids;
  // The state has read the sixth token; what follows it is what follows it in one go.
  EXPECT_EQ(twice.rows[0].position, 9);
  EXPECT_EQ(parts, std::vector<int64_t>(whole.begin(), whole.begin() + 6));
}

INSTANTIATE_TEST_SUITE_P(Methods, Generation,
                         ::testing::Values("none", "segments", "window", "sink", "xl", "memorizing", "rmt",
                                           "hmt"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Generate, EndIdsEndARowAndEmptyPromptsAreRefused) {
  const Model model = tiny("none");
  GenerateOptions options;
  options.max_tokens = 30;
  State state = model.initial(1);
  const Completion free = generate(model, nullptr, {{1, 2}}, {}, options, 0, state)[0];
  State again = model.initial(1);
  const Completion ended = generate(model, nullptr, {{1, 2}}, {free.ids[0]}, options, 0, again)[0];
  EXPECT_EQ(ended.reason, "end");
  EXPECT_EQ(ended.ids.size(), 1U);
  State fresh = model.initial(1);
  EXPECT_THROW(generate(model, nullptr, {{}}, {}, options, 0, fresh), Error);
}

}  // namespace
}  // namespace mneme
