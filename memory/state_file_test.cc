#include "memory/state_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "memory/law_cases.h"

namespace mneme {
namespace {

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    LawCase c;
    for (const LawCase& one : law_cases()) c = one.name == "hmt/llama" ? one : c;
    model_ = law_model(c, at::kFloat);
    path_ = ::testing::TempDir() + "state-file-" + std::to_string(::getpid());
    State s = model_.initial(2);
    Batch batch;
    batch.ids = law_text(2, 30, 1);
    read(model_, batch, s);
    save_state(s, "print", path_);
    bytes_ = read_file(path_);
  }
  void TearDown() override { std::remove(path_.c_str()); }
  std::string refusal(const std::string& bytes) {
    write_file(path_, bytes);
    try {
      load_state(path_, "print");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Kind::input);
      return e.message();
    }
    return "";
  }
  at::NoGradGuard no_grad_;
  Model model_;
  std::string path_, bytes_;
};

TEST_F(StateFile, IsRefusedWhenCutShortAnywhere) {
  for (size_t n = 0; n < bytes_.size(); n += 1 + bytes_.size() / 97)
    EXPECT_NE(refusal(bytes_.substr(0, n)), "") << n;
}

TEST_F(StateFile, IsRefusedWhenAnyBitFlips) {
  for (size_t n = 8; n < bytes_.size(); n += 1 + bytes_.size() / 301) {
    std::string changed = bytes_;
    changed[n] = static_cast<char>(changed[n] ^ 0x10);
    EXPECT_NE(refusal(changed), "") << n;
  }
}

TEST_F(StateFile, SaysThatItBelongsToAnotherModel) {
  EXPECT_THROW(load_state(path_, "other"), Error);
  try {
    load_state(path_, "other");
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("another model"), std::string::npos);
  }
}

TEST_F(StateFile, IsRefusedWithNaN) {
  State s = load_state(path_, "print");
  s.rows[0].tensors["memories"][0][0] = NAN;
  save_state(s, "print", path_);
  EXPECT_NE(refusal(read_file(path_)).find("not finite"), std::string::npos);
}

}  // namespace
}  // namespace mneme
