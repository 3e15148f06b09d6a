#include "data/records.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "data/testing.h"
#include "data/tokenize.h"

namespace mneme {
namespace {

using nlohmann::ordered_json;

constexpr char kChatMl[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
constexpr char kMarked[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ "
    "m.content }}"
    "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}";
// Writes only the last answer's reasoning, as reasoning models' templates do.
constexpr char kForgetful[] =
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and not loop.last %}{{ "
    "m.content.split('|')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";

std::vector<std::string> trained_texts(const Document& document) {
  std::vector<std::string> parts;
  for (const ByteRange& range : document.trained)
    parts.push_back(document.text.substr(range.begin, range.end - range.begin));
  return parts;
}

Document read(const char* json, const RecordOptions& options = {}) {
  return read_record(ordered_json::parse(json), options, "file:1");
}

constexpr char kTalk[] =
    R"({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"},
  {"role": "assistant", "content": "hello é"}, {"role": "user", "content": "bye"}, {"role": "assistant", "content": "ciao"}]})";

TEST(Records, FourShapesOfText) {
  EXPECT_EQ(read(R"({"text": "abc"})").text, "abc");
  EXPECT_FALSE(read(R"({"text": "abc"})").masked);
  const Document completion = read(R"({"prompt": "2+2=", "completion": " 4"})");
  EXPECT_EQ(completion.text, "2+2= 4");
  EXPECT_THAT(trained_texts(completion), testing::ElementsAre(" 4"));
  const Document instruction = read(R"({"instruction": "Add", "input": "1 2", "output": "3"})");
  EXPECT_EQ(instruction.text, "### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n3");
  EXPECT_THAT(trained_texts(instruction), testing::ElementsAre("3"));
  EXPECT_EQ(read(R"({"instruction": "Go", "output": "3"})").text, "### Instruction:\nGo\n\n### Response:\n3");
  RecordOptions all;
  all.train_all = true;
  EXPECT_FALSE(read(R"({"prompt": "2+2=", "completion": " 4"})", all).masked);
}

TEST(Records, WhatTheAssistantSaysByGenerationBlocks) {
  const ChatTemplate chat(kMarked);
  RecordOptions options;
  options.chat = &chat;
  EXPECT_THAT(trained_texts(read(kTalk, options)),
              testing::ElementsAre("hello é<|im_end|>", "ciao<|im_end|>"));
}

TEST(Records, WhatTheAssistantSaysByRenderingTurnByTurn) {
  const ChatTemplate chat(kChatMl);
  RecordOptions options;
  options.chat = &chat;
  const Document document = read(kTalk, options);
  EXPECT_THAT(trained_texts(document), testing::ElementsAre("hello é<|im_end|>\n", "ciao<|im_end|>\n"));
  EXPECT_FALSE(document.add_special);
  EXPECT_FALSE(document.add_end);
  const Document instruction = read(R"({"instruction": "Add", "input": "1 2", "output": "3"})", options);
  EXPECT_THAT(trained_texts(instruction), testing::ElementsAre("3<|im_end|>\n"));
}

TEST(Records, TurnsThatATemplateRewritesAreFoundByTheirWords) {
  const ChatTemplate chat(kForgetful);
  RecordOptions options;
  options.chat = &chat;
  const Document document =
      read(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "why"},
    {"role": "user", "content": "r"}, {"role": "assistant", "content": "think|done"}]})",
           options);
  EXPECT_THAT(trained_texts(document), testing::ElementsAre("why", "think|done"));
  // The first answer's reasoning is gone, so its words are nowhere: better refused than wrongly masked.
  EXPECT_THROW(
      read(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a|b"},
    {"role": "user", "content": "r"}, {"role": "assistant", "content": "c"}]})",
           options),
      Error);
}

TEST(Records, AnswersInAPromptOfMessagesAreHistory) {
  const ChatTemplate chat(kChatMl);
  RecordOptions options;
  options.chat = &chat;
  const Document document =
      read(R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]})",
           options);
  EXPECT_THAT(trained_texts(document), testing::ElementsAre("d<|im_end|>\n"));
}

TEST(Records, TokenIdsWithLabels) {
  const Document document = read(R"({"ids": [5, 6, 7, 8], "labels": [-100, 7, -100, -100]})");
  EXPECT_EQ(document.ids, (std::vector<int32_t>{5, 6, 7, 8}));
  EXPECT_EQ(document.counts, (std::vector<uint8_t>{0, 0, 1, 0}));
  EXPECT_TRUE(read(R"({"ids": [5, 6]})").counts.empty());
  EXPECT_THROW(read(R"({"ids": [5, 6], "labels": [7, -100]})"), Error);
  EXPECT_THROW(read(R"({"ids": [5, -6]})"), Error);
  EXPECT_THROW(read(R"({"ids": [5, 6], "labels": [6]})"), Error);
}

TEST(Records, BadRecordsSayWhere) {
  for (const char* bad :
       {R"({"txt": "a"})", R"([1])", R"({"prompt": 1, "completion": "a"})", R"({"messages": []})",
        R"({"messages": [{"content": "a"}]})", R"({"messages": [{"role": "user", "content": "a"}]})"}) {
    try {
      read(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Kind::input);
      EXPECT_THAT(e.what(), testing::HasSubstr("file:1")) << bad;
    }
  }
}

// Tokens as text, trained ones in brackets.
std::string shown(const TokenizedDocument& document) {
  std::string out;
  for (size_t i = 0; i < document.ids.size(); ++i) {
    const std::string piece = test_tokenizer()->decode({&document.ids[i], 1}, false);
    out += !document.trained.empty() && document.trained[i] ? "[" + piece + "]" : piece;
  }
  return out;
}

TEST(Tokenize, MasksFollowTheBytes) {
  Document document;
  document.text = "the quick the lazy";
  document.masked = true;
  document.trained = {{4, 9}};
  document.add_end = false;
  EXPECT_EQ(shown(tokenize_document(document, *test_tokenizer(), {})), "the [q][u][i][c][k] the lazy");
  // Bytes of one character are in several tokens; all of them count.
  document.text = "a日b";
  document.trained = {{1, 4}};
  const TokenizedDocument wide = tokenize_document(document, *test_tokenizer(), {});
  EXPECT_EQ(wide.trained, (std::vector<uint8_t>{0, 1, 1, 1, 0}));
}

TEST(Tokenize, TheEndIsLearntWithAnAnswer) {
  const Document document = read(R"({"prompt": "the ", "completion": "dog"})");
  const TokenizedDocument tokens = tokenize_document(document, *test_tokenizer(), {});
  EXPECT_EQ(tokens.ids.back(), test_tokenizer()->special().eos);
  EXPECT_EQ(tokens.trained.back(), 1);
  EXPECT_EQ(tokens.trained.front(), 0);
  TokenizeOptions bare;
  bare.end = false;
  EXPECT_NE(tokenize_document(document, *test_tokenizer(), bare).ids.back(), test_tokenizer()->special().eos);
}

TEST(Tokenize, SpecialTokensInTextsAreTokensOrPlain) {
  Document document;
  document.text = "the</s>dog";
  const auto count = [&](bool plain) {
    TokenizeOptions options;
    options.plain = plain;
    options.end = false;
    const auto ids = tokenize_document(document, *test_tokenizer(), options).ids;
    return std::count(ids.begin(), ids.end(), test_tokenizer()->special().eos);
  };
  EXPECT_EQ(count(false), 1);
  EXPECT_EQ(count(true), 0);
}

}  // namespace
}  // namespace mneme
