#include "io/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/testing.h"

namespace mneme {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.message();
  }
  return "accepted";
}

// Two files and the index {a: x, b: x, c: y}.
void write_sharded(const TemporaryFolder& folder, const std::string& map) {
  write_safetensors(folder / "x.safetensors", NamedTensors{{"a", at::ones({2})}, {"b", at::ones({3})}});
  write_safetensors(folder / "y.safetensors", NamedTensors{{"c", at::ones({4})}});
  std::string index = R"({"metadata":{"total_size":36},"weight_map":)";
  index.append(map).append("}");
  write_file(folder / "model.safetensors.index.json", index);
}

TEST(Weights, ShardsAreOneSource) {
  TemporaryFolder folder;
  write_sharded(folder, R"({"a":"x.safetensors","b":"x.safetensors","c":"y.safetensors"})");
  const auto source = WeightSource::open(folder.path());
  EXPECT_THAT(source.names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(source.info("c").shape, (std::vector<int64_t>{4}));
  EXPECT_TRUE(same_bytes(source.tensor("c"), at::ones({4})));
  EXPECT_STREQ(source.format(), "safetensors");
  EXPECT_THROW(source.tensor("d"), Error);
}

TEST(Weights, IndexErrorsNameTheTensor) {
  const auto open = [](const std::string& map) {
    TemporaryFolder folder;
    write_sharded(folder, map);
    return message_of([&] { WeightSource::open(folder / "model.safetensors.index.json"); });
  };
  EXPECT_THAT(open(R"({"a":"x.safetensors"})"), HasSubstr("not named there:\n    b"));
  EXPECT_THAT(open(R"({"a":"x.safetensors","b":"x.safetensors","d":"x.safetensors"})"),
              HasSubstr("d of x.safetensors"));
  EXPECT_THAT(open(R"({"a":"z.safetensors"})"), HasSubstr("'z.safetensors', which is not there"));
  EXPECT_THAT(open(R"({"a":"../x.safetensors"})"), HasSubstr("a file in the same folder"));
  EXPECT_THAT(open(R"({"a":3})"), HasSubstr("weight_map.a"));
  EXPECT_THAT(open("[]"), HasSubstr("weight_map"));
}

TEST(Weights, SectionsOfCheckpoints) {
  const auto model = WeightSource::open("testdata/torch/checkpoint.bin");  // {"model": ..., "optimizer": ...}
  EXPECT_THAT(model.names(), ElementsAre("0.weight", "0.bias", "1.weight", "1.bias"));
  const auto optimizer = WeightSource::open("testdata/torch/checkpoint.bin", {.section = "optimizer"});
  EXPECT_TRUE(optimizer.contains("state.0.exp_avg"));
  EXPECT_THAT(message_of([] { WeightSource::open("testdata/torch/checkpoint.bin", {.section = "ema"}); }),
              HasSubstr("under 'ema'; there are some under 'model', 'optimizer.state.0'"));
  EXPECT_EQ(WeightSource::open("testdata/torch/state_old.bin").names().size(), 18U);
}

TEST(Weights, RenamingAndLazyTensors) {
  TemporaryFolder folder;
  write_safetensors(folder / "m.safetensors",
                    NamedTensors{{"module.a", at::ones({2})}, {"module.b", at::zeros({1})}});
  const auto source = WeightSource::open(folder / "m.safetensors").renamed([](const std::string& name) {
    return name == "module.b" ? "" : name.substr(7);
  });
  EXPECT_THAT(source.names(), ElementsAre("a"));
  const LazyTensor lazy = source.lazy("a");
  EXPECT_EQ(lazy.shape, (std::vector<int64_t>{2}));
  EXPECT_TRUE(same_bytes(lazy.load(), at::ones({2})));
  EXPECT_THAT(message_of([&] {
                WeightSource::open(folder / "m.safetensors").renamed([](const std::string&) { return "x"; });
              }),
              HasSubstr("'x' occurs twice"));
}

TEST(Weights, RequireTensorsListsEverything) {
  const Shapes expected{{"a", {2, 3}}, {"b", {4}}, {"c", {}}};
  EXPECT_NO_THROW(require_tensors(expected, expected, "file"));
  const Shapes found{{"a", {3, 2}}, {"c", {}}, {"d", {7}}, {"d.buffer", {1}}};
  const std::string all = message_of([&] { require_tensors(found, expected, "file"); });
  EXPECT_THAT(all, HasSubstr("1 missing:\n    b [4]"));
  EXPECT_THAT(all, HasSubstr("1 of another shape:\n    a: expected [2, 3], found [3, 2]"));
  EXPECT_THAT(all, HasSubstr("2 unexpected:\n    d [7]"));
  const auto buffer = [](const std::string& name) { return name == "d.buffer"; };
  EXPECT_THAT(message_of([&] { require_tensors(found, expected, "file", buffer); }),
              Not(HasSubstr("d.buffer")));
  Shapes many;
  for (int i = 0; i < 100; ++i) many[std::string("t").append(std::to_string(i))] = {1};
  EXPECT_THAT(message_of([&] { require_tensors({}, many, "file"); }), HasSubstr("and 80 more"));
}

TEST(Weights, EmptyFoldersSayWhatTheyLack) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { WeightSource::open(folder.path()); }), HasSubstr("no weights in"));
}

TEST(Weights, AllFormsOfOneModelAgree) {
  const std::string base = shared_path("data/models/stories260K");
  if (base.empty()) GTEST_SKIP() << "no shared data";
  const auto full = WeightSource::open(base);
  const auto sharded = WeightSource::open(base + "-variants/sharded-bf16");
  const auto pickled = WeightSource::open(base + "-variants/pytorch-bin-fp16");
  EXPECT_NO_THROW(require_tensors(sharded, shapes_of(full)));
  for (const std::string& name : full.names()) {
    EXPECT_TRUE(same_bytes(sharded.tensor(name), full.tensor(name).to(at::kBFloat16))) << name;
    EXPECT_TRUE(same_bytes(pickled.tensor(name), full.tensor(name).to(at::kHalf))) << name;
  }
  // The pickle carries the tied head once more.
  const auto head = [](const std::string& name) { return name == "lm_head.weight"; };
  EXPECT_NO_THROW(require_tensors(pickled, shapes_of(full), head));
  EXPECT_THROW(require_tensors(pickled, shapes_of(full)), Error);
}

TEST(Weights, GoldenWeightsAreRead) {
  int cases = 0;
  for (const char* method : {"hmt", "landmark", "longmem", "memlong", "memogpt", "rmt"}) {
    const std::string folder = shared_path(std::string("goldens/") + method);
    if (folder.empty()) GTEST_SKIP() << "no shared data";
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      for (const char* file : {"weights.safetensors", "io.safetensors"}) {
        if (!std::filesystem::exists(entry.path() / file)) continue;
        const auto source = WeightSource::open(entry.path() / file);
        TemporaryFolder copies;
        NamedTensors tensors;
        for (const std::string& name : source.names()) tensors.emplace_back(name, source.tensor(name));
        write_safetensors(copies / "copy", tensors);
        const auto copy = WeightSource::open(copies / "copy");
        ASSERT_EQ(copy.names().size(), source.names().size());
        for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same_bytes(copy.tensor(name), tensor)) << name;
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 100);
}

}  // namespace
}  // namespace mneme
