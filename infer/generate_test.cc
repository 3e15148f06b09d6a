#include "infer/generate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "infer/testing.h"
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

TEST_P(Generation, SampledTextsGoOnAsTheyWouldHaveAtOnce) {
  const Model model = tiny(GetParam());
  GenerateOptions all, half;
  all.sampler.temperature = half.sampler.temperature = 1;
  all.max_tokens = 14;
  half.max_tokens = 7;
  half.read_last = false;
  State once = model.initial(1), twice = model.initial(1);
  const std::vector<int64_t> whole = generate(model, nullptr, {{1, 2, 3}}, {}, all, 5, once)[0].ids;
  std::vector<int64_t> parts = generate(model, nullptr, {{1, 2, 3}}, {}, half, 5, twice)[0].ids;
  EXPECT_EQ(twice.rows[0].position, 9);  // the tenth is left to read
  const Completion rest = generate(model, nullptr, {{parts.back()}}, {}, half, 5, twice)[0];
  parts.insert(parts.end(), rest.ids.begin(), rest.ids.end());
  EXPECT_EQ(parts, whole);
}

TEST_P(Generation, SamplesShareThePromptAndEqualRowsOfTheirOwn) {
  const Model model = tiny(GetParam());
  GenerateOptions o;
  o.sampler.temperature = 1;
  o.max_tokens = 9;
  const std::vector<int64_t> a = {1, 2, 3, 4, 5, 6, 7, 8}, b = {9, 8, 7};
  State rows = model.initial(4), forked = model.initial(2), later = model.initial(1);
  const std::vector<Completion> apart = generate(model, nullptr, {a, a, b, b}, {}, o, 3, rows);
  o.samples = 2;
  const std::vector<Completion> together = generate(model, nullptr, {a, b}, {}, o, 3, forked);
  ASSERT_EQ(together.size(), 4U);
  EXPECT_EQ(forked.size(), 4);
  for (size_t r = 0; r < 4; ++r) EXPECT_EQ(together[r].ids, apart[r].ids) << r;
  EXPECT_NE(together[0].ids, together[1].ids);
  // Batches of a longer list draw what they would have drawn in one.
  o.first_row = 2;
  const std::vector<Completion> second = generate(model, nullptr, {b}, {}, o, 3, later);
  EXPECT_EQ(second[0].ids, apart[2].ids);
  EXPECT_EQ(second[1].ids, apart[3].ids);
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

TEST(Generate, LikeliestTokensAndTheirLogprobs) {
  const Model model = tiny("none");
  GenerateOptions o;
  o.max_tokens = 4;
  o.top_logprobs = 3;
  State state = model.initial(1);
  const Completion c = generate(model, nullptr, {{1, 2}}, {}, o, 0, state)[0];
  ASSERT_EQ(c.top.size(), 4U);
  for (size_t t = 0; t < 4; ++t) {
    ASSERT_EQ(c.top[t].size(), 3U);
    EXPECT_EQ(c.top[t][0].first, c.ids[t]);  // greedy
    EXPECT_NEAR(c.top[t][0].second, c.logprobs[t], 1e-6);
    EXPECT_GE(c.top[t][0].second, c.top[t][1].second);
    EXPECT_GE(c.top[t][1].second, c.top[t][2].second);
  }
}

TEST(Generate, AnInterruptionKeepsWhatCame) {
  const Model model = tiny("rmt");
  GenerateOptions o;
  o.max_tokens = 50;
  for (const bool read_last : {true, false}) {
    o.read_last = read_last;
    int asked = 0;
    GenerateHooks hooks;
    hooks.stopped = [&] { return ++asked == 5; };
    State state = model.initial(2);
    const std::vector<Completion> c = generate(model, nullptr, {{1, 2}, {3}}, {}, o, 0, state, hooks);
    EXPECT_EQ(c[1].reason, "interrupted");
    EXPECT_EQ(c[1].ids.size(), 5U);
    EXPECT_EQ(state.rows[0].position, read_last ? 7 : 6);
  }
}

// Stop texts lie across token borders: every token of this tokenizer is a byte.
TEST(Generate, StopTextsAcrossTokenBorders) {
  const TemporaryFolder folder;
  const std::shared_ptr<const Tokenizer> bytes = byte_tokenizer();
  const Model model = byte_model(folder.path());
  GenerateOptions o;
  o.max_tokens = 40;
  State state = model.initial(1);
  const std::string free = generate(model, bytes.get(), {{'a'}}, {}, o, 0, state)[0].text;
  ASSERT_GT(free.size(), 8U);
  // Somewhere within, three characters that do not come earlier.
  size_t at = 3;
  while (at + 3 < free.size() && free.find(free.substr(at, 3)) != at) ++at;
  ASSERT_LT(at + 3, free.size()) << free;
  o.stop = {"never, " + free, free.substr(at, 3)};
  std::string streamed;
  GenerateHooks hooks;
  hooks.on_text = [&](int64_t, const std::string& text) {
    streamed += text;
    EXPECT_EQ(streamed.find(o.stop[1]), std::string::npos);
  };
  State again = model.initial(1);
  const Completion c = generate(model, bytes.get(), {{'a'}}, {}, o, 0, again, hooks)[0];
  EXPECT_EQ(c.reason, "stop");
  EXPECT_EQ(c.text, free.substr(0, at));
  EXPECT_EQ(streamed, c.text);
}

}  // namespace
}  // namespace mneme
