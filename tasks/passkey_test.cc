#include "tasks/passkey.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace mneme {
namespace {

TEST(Passkey, ThePublishedPrompts) {
  const char* given = std::getenv("MNEME_SHARED");
  const std::string path =
      std::string(given ? given : "../shared") + "/goldens/landmark/passkey_prompts/prompts.json";
  if (!file_exists(path)) GTEST_SKIP() << path << " is not here";
  int whole = 0;
  for (const auto& one : read_json(path)) {
    const std::string prompt = passkey_prompt(
        one["n_garbage"].get<int64_t>(), one["prefix_chars"].get<int64_t>(), one["pass_key"].get<int64_t>());
    EXPECT_EQ(static_cast<int64_t>(prompt.size()), one["characters"].get<int64_t>());
    if (!one.contains("prompt")) continue;
    EXPECT_EQ(prompt, one["prompt"].get<std::string>());
    ++whole;
  }
  EXPECT_GT(whole, 0);
}

TEST(Passkey, TheFillingRepeatsWithOneBlank) {
  const std::string prompt = passkey_prompt(200, 100, 7);
  EXPECT_NE(prompt.find("There and back again. The grass"), std::string::npos);
  EXPECT_NE(prompt.find("\nThe pass key is 7. Remember it. 7 is the pass key.\n"), std::string::npos);
  EXPECT_TRUE(prompt.ends_with("\nWhat is the pass key? The pass key is"));
  EXPECT_EQ(passkey_prompt(500000, 5, 1).size(), passkey_prompt(0, 0, 1).size() + 500000);
  EXPECT_THROW(passkey_prompt(int64_t{1} << 40, 0, 1), Error);
  EXPECT_THROW(passkey_prompt(10, 11, 1), Error);
}

TEST(Passkey, ExamplesDependOnSeedAndNumberAlone) {
  std::set<int64_t> keys;
  for (uint64_t i = 0; i < 50; ++i) {
    const PasskeyExample example = passkey_example(1000, 3, i);
    EXPECT_EQ(example.prompt, passkey_example(1000, 3, i).prompt);
    EXPECT_GE(example.key, 1);
    EXPECT_LE(example.key, 50000);
    keys.insert(example.key);
  }
  EXPECT_GT(keys.size(), 45U);
}

TEST(Passkey, TheFirstIntegerCounts) {
  EXPECT_EQ(first_integer(" 123. 456"), 123);
  EXPECT_EQ(first_integer("is -7"), 7);
  EXPECT_EQ(first_integer("none"), std::nullopt);
  EXPECT_EQ(first_integer("99999999999999999999999"), std::nullopt);
  const PasskeyExample example{"", 42, 0};
  EXPECT_TRUE(passkey_right(example, " 42."));
  EXPECT_FALSE(passkey_right(example, " 421"));
  EXPECT_FALSE(passkey_right(example, "forty-two"));
}

}  // namespace
}  // namespace mneme
