#include "convert/describe.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "memory/model_folder.h"
#include "memory/read.h"
#include "memory/state_file.h"

namespace mneme {
namespace {

using Json = nlohmann::ordered_json;

class Describe : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "describe-" + std::to_string(::getpid());
    MemoryOptions o;
    o.method = "rmt";
    o.rmt = {6, 2};
    model_ = fresh_model("testdata/models/tiny-llama.json", o, 3);
    save_model(model_, folder_ + "/model");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
  Model model_;
};

TEST_F(Describe, AModelFolder) {
  const Json d = describe_path(folder_ + "/model");
  EXPECT_EQ(d.at("kind"), "model");
  EXPECT_EQ(d.at("format"), "safetensors");
  EXPECT_EQ(d.at("architecture").at("name"), "llama");
  EXPECT_EQ(d.at("architecture").at("parameters"), parameter_count(model_.decoder->config()));
  EXPECT_EQ(d.at("elements"), parameter_count(model_.decoder->config()));
  EXPECT_EQ(d.at("memory").at("method"), "rmt");
  EXPECT_EQ(d.at("memory").at("options").at("memory_tokens"), 2);
  EXPECT_EQ(d.at("memory").at("elements"), 2 * 16);
  const std::string text = description_text(d, false);
  EXPECT_NE(text.find("model.layers.{0..1}.self_attn.q_proj.weight"), std::string::npos) << text;
  EXPECT_NE(text.find("x 2"), std::string::npos);
  EXPECT_NE(text.find("memory_cell.memory"), std::string::npos);
  EXPECT_NE(description_text(d, true).find("model.layers.1.self_attn.q_proj.weight"), std::string::npos);
}

TEST_F(Describe, AStateWithItsRows) {
  const at::NoGradGuard no_grad;
  State s = model_.initial(2);
  Batch batch;
  batch.ids = at::randint(29, {2, 15}, at::kLong);
  read(model_, batch, s);
  const std::string path = folder_ + "/a.state";
  save_state(s, "print", path);
  const Json d = describe_path(path);
  EXPECT_EQ(d.at("kind"), "state");
  EXPECT_EQ(d.at("fingerprint"), "print");
  ASSERT_EQ(d.at("rows").size(), 2U);
  EXPECT_EQ(d.at("rows")[1].at("position"), 15);
  EXPECT_EQ(d.at("rows")[1].at("segment"), 2);
  EXPECT_NE(description_text(d, false).find("15 tokens read, 2 segments closed, 3 tokens in the open one"),
            std::string::npos);
}

TEST_F(Describe, WhatIsWrongIsPartOfTheAnswer) {
  write_file(folder_ + "/model/config.json", "{\"model_type\": \"nothing\", \"vocab_size\": 3}");
  const Json d = describe_path(folder_ + "/model");
  EXPECT_NE(d.at("architecture").at("error").get<std::string>().find("nothing"), std::string::npos);
  EXPECT_GT(d.at("tensors").size(), 5U);
  EXPECT_NE(description_text(d, false).find("nothing"), std::string::npos);
}

TEST_F(Describe, WeightsAloneAndWhatIsNothing) {
  EXPECT_EQ(describe_path(folder_ + "/model/model.safetensors").at("kind"), "weights");
  EXPECT_EQ(describe_path("testdata/torch/state.bin").at("format"), "pytorch");
  write_file(folder_ + "/noise", "these bytes are nothing that it knows");
  EXPECT_THROW(describe_path(folder_ + "/noise"), Error);
  EXPECT_THROW(describe_path(folder_ + "/absent"), Error);
  EXPECT_THROW(describe_path(folder_), Error);
}

}  // namespace
}  // namespace mneme
