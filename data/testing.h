// What the tests of this folder share: a small tokenizer, a folder that cleans up after itself.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "base/files.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"

namespace mneme {

// Byte-level BPE with ids 0 <s>, 1 </s>, 2 <|im_start|>, 3 <|im_end|>, bytes, and a few merges.
inline std::shared_ptr<const Tokenizer> test_tokenizer() {
  static const auto made = [] {
    BpeTrainer trainer({300, {"<s>", "</s>", "<|im_start|>", "<|im_end|>"}, "", 2});
    trainer.add("the quick brown fox and the lazy dog and the user and the assistant said hello hello");
    return std::make_shared<const Tokenizer>(
        parse_tokenizer_json(to_tokenizer_json(trainer.train()), "test"));
  }();
  return made;
}

class TestFolder {
 public:
  explicit TestFolder(const std::string& name) : path_(testing::TempDir() + "mneme_" + name) {
    std::filesystem::remove_all(path_);
    make_folders(path_);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : join_path(path_, name);
  }
  std::string write(const std::string& name, const std::string& bytes) const {
    make_folders(std::filesystem::path(path(name)).parent_path().string());
    write_file(path(name), bytes);
    return path(name);
  }

 private:
  std::string path_;
};

inline std::string shared_folder() {
  const char* given = std::getenv("MNEME_SHARED");
  return given ? given : "../shared";
}

}  // namespace mneme
