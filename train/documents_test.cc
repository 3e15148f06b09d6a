// Texts that go on from update to update: their memory, their place, and both after a resume.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/log.h"
#include "data/prepare.h"
#include "data/testing.h"
#include "memory/law_cases.h"
#include "train/backward.h"
#include "train/trainer.h"

namespace mneme {
namespace {

const bool kQuiet = [] {
  configure_log({.quiet = true});
  return true;
}();

// Documents of tokens below 29, document d of 5 + 9 d.
std::string prepared(const TestFolder& folder, int64_t documents) {
  std::string lines;
  for (int64_t d = 0; d < documents; ++d) {
    nlohmann::json ids;
    for (int64_t i = 0; i < 5 + 9 * d; ++i) ids.push_back((d + 3 * i + i * i / 4) % 29);
    lines += nlohmann::json{{"ids", ids}}.dump() + "\n";
  }
  PrepareOptions options;
  options.inputs = {folder.write("documents.jsonl", lines)};
  options.out = folder.path("prepared");
  options.vocabulary = 29;
  prepare_data(options, nullptr);
  return options.out;
}

DataOptions documents_of(const std::string& path) {
  DataOptions options;
  options.kind = "tokens";
  options.train = options.valid = path;
  options.segment = 7;
  return options;
}

bool equal(const Sample& a, const Sample& b) {
  return a.ids.equal(b.ids) && a.labels.equal(b.labels) && a.reset.equal(b.reset) && a.count.equal(b.count);
}

TEST(Documents, RowsGoThroughThemAndAPositionGoesOn) {
  const TestFolder folder("documents_source");
  const DataOptions options = documents_of(prepared(folder, 8));
  const auto source = make_source(options, 1);
  nlohmann::json position;
  std::vector<Sample> all;
  int64_t begun = 0, tokens = 0;
  for (uint64_t step = 0; step < 10; ++step) {
    const int64_t segments = step < 4 ? 1 : 3;
    all.push_back(source->train(step, 3, segments));
    const Sample& s = all.back();
    EXPECT_TRUE(equal(s, source->train(step, 3, segments)));  // asked again
    ASSERT_EQ(s.ids.size(1), 7 * segments);
    ASSERT_EQ(s.reset.size(1), segments);
    EXPECT_TRUE(step > 0 || s.reset.all().item<bool>());
    begun += s.reset.sum().item<int64_t>();
    tokens += s.count.sum().item<int64_t>();
    if (step == 5) position = source->position();
  }
  EXPECT_GE(begun, 8);
  EXPECT_GT(tokens, 9 * 8 * 4);
  for (const bool asked_before : {false, true}) {  // a trainer looks at the first sample before it resumes
    const auto resumed = make_source(options, 1);
    if (asked_before) resumed->train(0, 3, 1);
    resumed->restore(position);
    for (uint64_t step = 6; step < 10; ++step) EXPECT_TRUE(equal(all[step], resumed->train(step, 3, 3)));
  }
}

Model trained_model(const LawCase& c) {
  Model model = law_model(c);
  for (const Parameter& p : model.parameters()) p.value().set_requires_grad(true);
  return model;
}

class GoingOn : public ::testing::TestWithParam<LawCase> {};

TEST_P(GoingOn, LossesAreThoseOfTheWholeText) {
  if (GetParam().options.method == "landmark") GTEST_SKIP() << "no gradient crosses the end of its window";
  const Model model = trained_model(GetParam());
  const Tensor text = law_text(2, 43, 5);
  const Tensor ids = text.narrow(1, 0, 42).contiguous(), labels = text.narrow(1, 1, 42).contiguous();
  const Tensor width = at::full({2, 3}, 7, at::kLong);
  for (const char* way : {"unrolled", "replay"}) {
    TrainOptions options;
    options.backward = way;
    State state = model.initial(2);
    double sum = 0;
    for (int64_t half = 0; half < 2; ++half) {
      Sample s{ids.narrow(1, 21 * half, 21), labels.narrow(1, 21 * half, 21), at::zeros({2, 3}, at::kBool),
               width};
      if (half == 0) s.reset.select(1, 0).fill_(true);
      sum += backward(model, s, 7, 84, options, nullptr, &state).loss;
    }
    EXPECT_NEAR(sum, measure(model, {ids, labels}, 7).loss, 1e-9) << way;
  }
}

TEST_P(GoingOn, ATextThatBeginsLaterIsFresh) {
  const Model model = trained_model(GetParam());
  const Tensor text = law_text(2, 15, 5);
  const auto part = [&](int64_t at) { return text.narrow(1, at, 7); };
  // Row 0 ends its first text after 3 tokens and begins another with the next piece.
  Sample s{at::cat({part(0), part(7)}, 1), at::full({2, 14}, -100, at::kLong), at::ones({2, 2}, at::kBool),
           at::full({2, 2}, 7, at::kLong)};
  s.count[0][0].fill_(3);
  s.labels.narrow(1, 7, 7).copy_(part(8));
  State state = model.initial(2);
  const double loss = backward(model, s, 7, 14, {}, nullptr, &state).loss;
  EXPECT_NEAR(loss, measure(model, {part(7).contiguous(), part(8).contiguous()}, 7).loss, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Registry, GoingOn, ::testing::ValuesIn(law_cases()), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

TEST(Documents, AResumedTrainingHasTheSameWeightsBitForBit) {
  const TestFolder folder("documents_training");
  const DataOptions data = documents_of(prepared(folder, 12));
  for (const LawCase& c : law_cases()) {
    if (c.name != "hmt/llama" && c.name != "xl/llama" && c.name != "rmt/llama") continue;
    const auto train = [&](const std::string& run, int64_t steps_of_run) {
      TrainOptions options;
      options.steps = 12;
      options.batch = 3;
      options.micro_batch = 2;
      options.segments = {2, 3};
      options.save_every = steps_of_run;
      options.log_every = 100;
      options.keep = 10;
      options.held_out = 1;
      Model model = law_model(c, at::kFloat);
      const auto trained = prepare_training(model, options.trainable, at::kCPU, at::kFloat, 1);
      const auto source = make_source(data, 1);
      Trainer(model, trained, *source, {options, 3, folder.path(run), {}, 0}).run();
      std::vector<Tensor> out;
      for (const Parameter& p : trained) out.push_back(p.value().detach());
      return out;
    };
    const std::string name = c.name.substr(0, c.name.find('/'));
    const auto whole = train(name + "-whole", 5);
    train(name, 5);
    const std::string last = folder.path(name) + "/checkpoints/step-000000012";
    ASSERT_TRUE(is_folder(last));
    EXPECT_TRUE(file_exists(last + "/texts.safetensors"));
    std::filesystem::remove_all(last);  // as if it had been killed behind step 10
    const auto resumed = train(name, 5);
    ASSERT_EQ(whole.size(), resumed.size());
    for (size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(whole[i].equal(resumed[i])) << c.name << " " << i;
  }
}

}  // namespace
}  // namespace mneme
