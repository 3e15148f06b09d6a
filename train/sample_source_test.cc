#include "train/sample_source.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/prepare.h"
#include "data/testing.h"
#include "tasks/passkey.h"

namespace mneme {
namespace {

std::string tokenizer_file(const TestFolder& folder) {
  BpeTrainer trainer({300, {"<s>", "</s>"}, "", 2});
  trainer.add("The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.");
  return folder.write("tokenizer.json", to_tokenizer_json(trainer.train()));
}

bool equal(const Sample& a, const Sample& b) { return a.ids.equal(b.ids) && a.labels.equal(b.labels); }

std::vector<int32_t> row_of(const Tensor& t, int64_t row, bool labelled_only) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < t.size(1); ++i) {
    const auto value = t[row][i].item<int64_t>();
    if (!labelled_only || value >= 0) out.push_back(static_cast<int32_t>(value));
  }
  return out;
}

TEST(PasskeySource, TheLabelsAreTheKeyOfThePrompt) {
  const TestFolder folder("passkey_source");
  DataOptions options;
  options.kind = "passkey";
  options.tokenizer = tokenizer_file(folder);
  options.segment = 64;
  const auto tokenizer = load_tokenizer(options.tokenizer);
  const auto source = make_source(options, 3);
  const Sample sample = source->train(7, 2, 10);
  ASSERT_EQ(sample.ids.size(1), 640);
  for (int64_t row = 0; row < 2; ++row) {
    const std::string answer = tokenizer->decode(row_of(sample.labels, row, true), true);
    const std::string text = tokenizer->decode(row_of(sample.ids, row, false), true);
    const auto key = first_integer(answer);
    ASSERT_TRUE(key) << answer;
    EXPECT_EQ(answer, " " + std::to_string(*key) + ".");
    EXPECT_NE(text.find("The pass key is " + std::to_string(*key) + ". Remember it."), std::string::npos);
    // Filled to the end: the last labels stand where the sample ends, give or take one more word of filling.
    int64_t last = 0;
    for (int64_t t = 0; t < 640; ++t) last = sample.labels[row][t].item<int64_t>() >= 0 ? t : last;
    EXPECT_GT(last, 600);
  }
  EXPECT_FALSE(sample.ids[0].equal(sample.ids[1]));
  EXPECT_TRUE(equal(sample, make_source(options, 3)->train(7, 2, 10)));
  EXPECT_FALSE(equal(sample, source->train(8, 2, 10)));
  EXPECT_FALSE(equal(sample, source->held_out(7, 2, 10)));
}

TEST(PasskeySource, ShorterPromptsAndWholeTexts) {
  const TestFolder folder("passkey_short");
  DataOptions options;
  options.kind = "passkey";
  options.tokenizer = tokenizer_file(folder);
  options.segment = 100;
  options.passkey.shortest = 0.3;
  options.passkey.all = true;
  const Sample sample = make_source(options, 1)->train(0, 16, 20);
  const Tensor lengths = (sample.labels >= 0).sum(1);
  EXPECT_LT(lengths.min().item<int64_t>(), 1400);
  EXPECT_GT(lengths.max().item<int64_t>(), 1600);
  const Tensor both = (sample.labels.narrow(1, 0, 1999) >= 0).logical_and(sample.ids.narrow(1, 1, 1999) > 0);
  EXPECT_TRUE(sample.labels.narrow(1, 0, 1999)
                  .masked_select(both)
                  .equal(sample.ids.narrow(1, 1, 1999).masked_select(both)));
  EXPECT_THROW(make_source(options, 1)->train(0, 1, 1), Error);  // the bare prompt does not fit
}

std::string prepared(const TestFolder& folder, const std::string& tokenizer) {
  for (int i = 0; i < 7; ++i) {
    std::string text;
    for (int j = 0; j < 20 + 30 * i; ++j) text += "Here we go. " + std::to_string(j) + " ";
    folder.write("texts/" + std::to_string(i) + ".txt", text);
  }
  PrepareOptions options;
  options.inputs = {folder.path("texts")};
  options.out = folder.path("prepared");
  prepare_data(options, load_tokenizer(tokenizer).get());
  return options.out;
}

TEST(TokenSource, SamplesAreAFunctionOfTheStep) {
  const TestFolder folder("token_source");
  DataOptions options;
  options.kind = "tokens";
  options.train = options.valid = prepared(folder, tokenizer_file(folder));
  options.segment = 16;
  for (const char* layout : {"windows", "samples"}) {
    options.layout = layout;
    const auto source = make_source(options, 1), other = make_source(options, 1);
    EXPECT_LE(source->vocabulary(), 300);
    std::vector<Sample> all;
    for (uint64_t step = 0; step < 12; ++step) all.push_back(source->train(step, 3, step < 6 ? 2 : 4));
    for (const uint64_t step : {11U, 0U, 7U, 3U}) {
      EXPECT_TRUE(equal(other->train(step, 3, step < 6 ? 2 : 4), all[step])) << layout << " " << step;
    }
    const Sample& s = all[2];
    ASSERT_EQ(s.ids.size(1), 32);
    const Tensor follow = s.ids.narrow(1, 1, 31), labels = s.labels.narrow(1, 0, 31);
    const Tensor known = labels >= 0;
    EXPECT_TRUE(labels.masked_select(known).equal(follow.masked_select(known)));
    EXPECT_GT(known.sum().item<int64_t>(), 60);
    EXPECT_TRUE(equal(source->held_out(1, 2, 2), other->held_out(1, 2, 2)));
  }
  options.valid.clear();
  EXPECT_THROW(make_source(options, 1)->held_out(0, 1, 1), Error);
  options.train.clear();
  EXPECT_THROW(make_source(options, 1), Error);
}

}  // namespace
}  // namespace mneme
