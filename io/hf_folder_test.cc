#include "io/hf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "io/testing.h"
#include "io/weights.h"

namespace mneme {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e.message();
  }
  return "accepted";
}

TEST(HfFolder, FindsItsFiles) {
  TemporaryFolder folder;
  write_file(folder / "config.json", R"({"model_type": "llama"})");
  write_file(folder / "tokenizer.json", "{}");
  const auto model = HfFolder::open(folder.path().string() + "/");
  EXPECT_EQ(model.config().at("model_type"), "llama");
  EXPECT_FALSE(model.generation_config().has_value());
  EXPECT_FALSE(model.is_adapter());
  EXPECT_THAT(model.tokenizer_files(), ElementsAre("tokenizer.json"));
  write_file(folder / "generation_config.json", R"({"eos_token_id": 2})");
  EXPECT_EQ(model.generation_config()->at("eos_token_id"), 2);
}

TEST(HfFolder, SaysWhatIsMissingOrBroken) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { HfFolder::open(folder / "none"); }), HasSubstr("no model at"));
  EXPECT_THAT(message_of([&] { HfFolder::open(folder.path()).config(); }), HasSubstr("no config.json"));
  write_file(folder / "config.json", "[1]");
  EXPECT_THAT(message_of([&] { HfFolder::open(folder.path()).config(); }),
              HasSubstr("expected a JSON object"));
  write_file(folder / "config.json", "{");
  EXPECT_THAT(message_of([&] { HfFolder::open(folder.path()).config(); }), HasSubstr("config.json"));
  EXPECT_THAT(message_of([&] { HfFolder::open(folder / "config.json"); }), HasSubstr("neither"));
}

TEST(FolderWriter, AppearsWholeOrNotAtAll) {
  TemporaryFolder folder;
  {
    const FolderWriter writer(folder / "model");
    writer.json("config.json", {{"a", 1}});
    EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  }
  EXPECT_THAT(folder.files(), IsEmpty());
  FolderWriter writer(folder / "deep/model");
  writer.json("config.json", {{"a", 1}});
  writer.commit();
  EXPECT_EQ(HfFolder::open(folder / "deep/model").config().at("a"), 1);
  EXPECT_THAT(folder.files(), ElementsAre("deep"));
}

TEST(FolderWriter, ReplacesOnlyWhenAsked) {
  TemporaryFolder folder;
  const auto write = [&](int value, bool replace) {
    FolderWriter writer(folder / "model", replace);
    writer.json("config.json", {{"a", value}});
    writer.commit();
  };
  make_folders(folder / "model");  // an empty folder is as good as none
  write(1, false);
  write_file(folder / "model/other", "x");
  EXPECT_THAT(message_of([&] { write(2, false); }), HasSubstr("is there already"));
  write(3, true);
  const auto model = HfFolder::open(folder / "model");
  EXPECT_EQ(model.config().at("a"), 3);
  EXPECT_FALSE(model.has("other"));
  EXPECT_THAT(folder.files(), ElementsAre("model"));
  write_file(folder / "file", "x");
  EXPECT_THAT(message_of([&] { FolderWriter(folder / "file", true); }), HasSubstr("not a folder"));
}

std::vector<LazyTensor> three_tensors() {
  std::vector<LazyTensor> out;
  for (const char* name : {"a", "b", "c"}) {
    out.push_back({name, at::kFloat, {10}, [name] { return at::full({10}, name[0], at::kFloat); }});
  }
  return out;
}

TEST(WriteWeights, ShardsWhatIsTooLarge) {
  TemporaryFolder folder;
  FolderWriter writer(folder / "model");
  write_weights(writer, three_tensors(), 80);
  writer.commit();
  EXPECT_THAT(list_folder(folder / "model"),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
  const auto source = WeightSource::open(folder / "model");
  EXPECT_THAT(source.names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(source.tensor("c")[9].item<float>(), static_cast<float>('c'));
  EXPECT_EQ(
      HfFolder::open(folder / "model").json("model.safetensors.index.json").at("metadata").at("total_size"),
      120);
}

TEST(WriteWeights, OneFileWhereItFits) {
  TemporaryFolder folder;
  FolderWriter writer(folder / "model");
  write_weights(writer, three_tensors());
  writer.commit();
  EXPECT_THAT(list_folder(folder / "model"), ElementsAre("model.safetensors"));
}

TEST(HfFolder, SharedModelRoundTripsByteEqual) {
  const std::string base = shared_path("data/models/stories260K");
  if (base.empty()) GTEST_SKIP() << "no shared data";
  TemporaryFolder folder;
  const auto model = HfFolder::open(base);
  const auto weights = WeightSource::open(base);
  std::vector<LazyTensor> tensors;
  for (const std::string& name : weights.names()) tensors.push_back(weights.lazy(name));
  FolderWriter writer(folder / "copy");
  writer.json("config.json", model.config());
  for (const std::string& name : model.tokenizer_files()) writer.copy(model, name);
  write_weights(writer, tensors, 300'000);
  writer.commit();
  const auto copy = HfFolder::open(folder / "copy");
  EXPECT_EQ(copy.config(), model.config());
  EXPECT_EQ(copy.tokenizer_files(), model.tokenizer_files());
  const auto again = WeightSource::open(folder / "copy");
  for (const std::string& name : weights.names())
    EXPECT_TRUE(same_bytes(again.tensor(name), weights.tensor(name)));
}

}  // namespace
}  // namespace mneme
