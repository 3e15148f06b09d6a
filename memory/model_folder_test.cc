#include "memory/model_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"

namespace mneme {
namespace {

MemoryOptions rmt(int64_t segment) {
  MemoryOptions o;
  o.method = "rmt";
  o.rmt = {segment, 3};
  return o;
}

class ModelFolder : public ::testing::Test {
 protected:
  ModelFolder() : folder_(::testing::TempDir() + "model_folder_" + std::to_string(getpid())) {
    save_model(fresh_model("testdata/models/tiny-llama.json", rmt(8), 5), folder_);
  }
  ~ModelFolder() override { std::filesystem::remove_all(folder_); }
  Tensor memory(const Model& m) const { return m.memory->parameters().at(0).value(); }
  std::string folder_;
};

TEST_F(ModelFolder, KeepsTheMethodItsOptionsAndWhatItLearned) {
  const Model m = load_model(folder_, {});
  EXPECT_EQ(m.options.method, "rmt");
  EXPECT_EQ(m.options.rmt.segment, 8);
  EXPECT_TRUE(memory(m).equal(memory(fresh_model("testdata/models/tiny-llama.json", rmt(8), 5))));
}

TEST_F(ModelFolder, OtherOptionsOfTheSameMethodReadWithWhatItLearned) {
  ModelLoad load;
  load.memory = rmt(4);
  load.seed = 99;
  EXPECT_TRUE(memory(load_model(folder_, load)).equal(memory(load_model(folder_, {}))));
  load.memory->rmt.memory_tokens = 2;
  EXPECT_THROW(load_model(folder_, load), Error);
}

TEST_F(ModelFolder, AnotherMethodStartsFresh) {
  ModelLoad load;
  load.memory = MemoryOptions();
  load.memory->method = "hmt";
  EXPECT_EQ(load_model(folder_, load).options.method, "hmt");
}

}  // namespace
}  // namespace mneme
