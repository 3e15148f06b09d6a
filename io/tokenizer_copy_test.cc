#include "io/tokenizer_copy.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "io/testing.h"

namespace mneme {
namespace {

TEST(TokenizerCopy, TakesAFoldersTokenizerAndNothingElse) {
  TemporaryFolder from, to;
  write_file(from / "tokenizer.json", "{}");
  write_file(from / "tokenizer_config.json", "{\"a\": 1}");
  write_file(from / "config.json", "{}");
  ASSERT_TRUE(copy_tokenizer(from.path().string(), to.path().string()));
  EXPECT_EQ(read_file(to / "tokenizer_config.json"), "{\"a\": 1}");
  EXPECT_TRUE(file_exists(to / "tokenizer.json"));
  EXPECT_FALSE(file_exists(to / "config.json"));
}

TEST(TokenizerCopy, TakesWhatLiesBesideAFileOfAFolder) {
  TemporaryFolder from, to;
  write_file(from / "vocab.json", "{}");
  write_file(from / "merges.txt", "a b");
  ASSERT_TRUE(copy_tokenizer((from / "vocab.json"), to.path().string()));
  EXPECT_EQ(read_file(to / "merges.txt"), "a b");
}

TEST(TokenizerCopy, GivesALoneFileTheNameByWhichFoldersAreRead) {
  TemporaryFolder from, to;
  write_file(from / "my-tokenizer.json", "{\"mine\": 1}");
  ASSERT_TRUE(copy_tokenizer(from / "my-tokenizer.json", to.path().string()));
  EXPECT_EQ(read_file(to / "tokenizer.json"), "{\"mine\": 1}");
  write_file(from / "notes.txt", "");
  EXPECT_THROW(copy_tokenizer(from / "notes.txt", to.path().string()), Error);
}

TEST(TokenizerCopy, TakenAlongItStopsNothing) {
  TemporaryFolder from, to;
  write_file(from / "notes.txt", "");
  take_tokenizer_along(from / "notes.txt", to.path().string());
  take_tokenizer_along(from / "nowhere/tokenizer.json", to.path().string());
  EXPECT_TRUE(to.files().empty());
}

TEST(TokenizerCopy, SaysWhereThereIsNone) {
  TemporaryFolder from, to;
  write_file(from / "config.json", "{}");
  EXPECT_FALSE(copy_tokenizer(from.path().string(), to.path().string()));
}

}  // namespace
}  // namespace mneme
