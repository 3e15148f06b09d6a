// What a user does wrong, through the binary: an exit code that says so, and words that help.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "tests/binary.h"

namespace mneme {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kModel = "models/passkey-landmark";

struct Outcome {
  int code;
  std::string text;
};

Outcome outcome(const std::vector<std::string>& arguments) {
  const std::string log = join_path(fresh_test_folder("cli"), "log");
  const int code = run_binary(arguments, log);
  return {code, read_file(log)};
}

TEST(Cli, OptionsThatCannotBeOrDoNothing) {
  struct Case {
    std::vector<std::string> options;
    const char* word;
  };
  const std::vector<Case> cases = {{{"--max-tokens", "-1"}, "max_tokens must be at least 0"},
                                   {{"--top-logprobs", "2"}, "--json"},
                                   {{"--save-every", "5"}, "--session FILE"},
                                   {{"--keep-ends", "5"}, "--session FILE"},
                                   {{"--samples", "0"}, "at least 1"},
                                   {{"--sampler.top-p", "2"}, "top_p"},
                                   {{"--max-tokens", "99999999999999999999"}, "expected an integer"}};
  for (const Case& c : cases) {
    std::vector<std::string> words = {"generate", "--model", kModel};
    words.insert(words.end(), c.options.begin(), c.options.end());
    words.emplace_back("promptly");
    const Outcome o = outcome(words);
    EXPECT_EQ(o.code, 2) << o.text;
    EXPECT_THAT(o.text, HasSubstr(c.word));
    EXPECT_THAT(o.text, Not(HasSubstr("promptly")));  // nothing looks like a result
  }
}

TEST(Cli, ATokenizerOfAnotherModel) {
  const std::string folder = fresh_test_folder("other-tokenizer");
  std::string vocab =
      "{\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"a\", \"vocab\": {\"a\": 99999}}}";
  write_file(join_path(folder, "tokenizer.json"), vocab);
  const Outcome o = outcome({"generate", "--model", kModel, "--tokenizer", folder, "promptly"});
  EXPECT_EQ(o.code, 3);
  EXPECT_THAT(o.text, HasSubstr("another model's"));
  EXPECT_THAT(o.text, HasSubstr("is not in the vocabulary"));
  EXPECT_THAT(o.text, Not(HasSubstr("promptly")));
}

// Results that nobody received are no success, in a stream or in one piece.
TEST(Cli, OutputThatCannotBeWritten) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP();
  EXPECT_EQ(run_binary({"generate", "--model", kModel, "--max-tokens", "3", "The"}, "/dev/full"), 4);
  EXPECT_EQ(run_binary({"generate", "--model", kModel, "--max-tokens", "3", "--json", "The"}, "/dev/full"),
            4);
  EXPECT_EQ(run_binary({"inspect", kModel}, "/dev/full"), 4);
}

TEST(Cli, ASessionThatHasNoPlace) {
  const Outcome o =
      outcome({"generate", "--model", kModel, "--session", "no/such/folder/x.state", "promptly"});
  EXPECT_EQ(o.code, 3);
  EXPECT_THAT(o.text, HasSubstr("no place for a session"));
  EXPECT_THAT(o.text, Not(HasSubstr("promptly")));
}

// The model's split pattern has no name in llama.cpp: never a file whose tokenizer is missing or wrong
// unasked.
TEST(Cli, ATokenizerWithoutAFormInGguf) {
  const std::string folder = fresh_test_folder("gguf"), gguf = join_path(folder, "m.gguf");
  const std::string messages = join_path(folder, "messages.json");
  const Outcome refused = outcome({"convert", "--drop-memory", kModel, gguf});
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.text, HasSubstr("has no form in GGUF"));
  EXPECT_FALSE(file_exists(gguf));
  EXPECT_THAT(refused.text, HasSubstr("--tokenizer none"));
  ASSERT_EQ(outcome({"convert", "--drop-memory", "--tokenizer", "none", kModel, gguf}).code, 0);
  write_file(messages, R"([{"role": "user", "content": "hi"}])");
  const Outcome without = outcome({"template", "--file", gguf, "--messages", messages});
  EXPECT_EQ(without.code, 3);
  EXPECT_THAT(without.text, HasSubstr("no chat template"));
}

}  // namespace
}  // namespace mneme
