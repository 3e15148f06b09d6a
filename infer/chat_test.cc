#include "infer/chat.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "infer/testing.h"

namespace mneme {
namespace {

// Answers are a few bytes of noise; what counts is what the session has read.
class Chats : public ::testing::Test {
 protected:
  Chats() {
    MemoryOptions rmt;
    rmt.method = "rmt";
    rmt.rmt = {16, 2};
    model_ = byte_model(folder_.path(), rmt);
    options_.max_tokens = 12;
    options_.sampler.temperature = 1;
  }
  Chat fresh(const std::string& source = kPlainChatTemplate, int64_t keep = 0) {
    return {Session(model_, tokenizer_, {.keep = keep}), tokenizer_, ChatTemplate(source), "Be brief."};
  }
  TemporaryFolder folder_;
  std::shared_ptr<const Tokenizer> tokenizer_ = byte_tokenizer();
  Model model_;
  GenerateOptions options_;
  std::vector<int64_t> end_ = {256};
};

TEST_F(Chats, ReadOnlyWhatIsNew) {
  Chat chat = fresh();
  std::vector<int64_t> before;
  for (int turn = 0; turn < 4; ++turn) {
    const int64_t known = chat.session().row().position;
    int64_t first_read = -1;
    GenerateHooks hooks;
    hooks.on_read = [&](int64_t, const Row& row) {
      if (first_read < 0) first_read = row.position;
    };
    const Completion c = chat.say("Hello " + std::to_string(turn), end_, options_, 1, hooks);
    EXPECT_GT(first_read, known);
    // The tokens of earlier turns stay as they were.
    ASSERT_GE(chat.session().text().size(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end(), chat.session().text().begin())) << turn;
    before = chat.session().text();
    const std::vector<int32_t> ids(before.begin(), before.end());
    const std::string text = tokenizer_->decode(ids, false);
    EXPECT_NE(text.find("User: Hello " + std::to_string(turn) + "\nAssistant:" + c.text), std::string::npos);
  }
  EXPECT_EQ(chat.messages().size(), 9U);
}

TEST_F(Chats, UndoEqualsNeverHavingSaidIt) {
  for (const int64_t keep : {0, 2}) {
    Chat chat = fresh(kPlainChatTemplate, keep), other = fresh();
    chat.say("one", end_, options_, 1);
    other.say("one", end_, options_, 1);
    chat.say("two, which is longer than a segment of the memory", end_, options_, 1);
    ASSERT_TRUE(chat.undo());
    EXPECT_EQ(chat.messages(), other.messages());
    const Completion a = chat.say("three", end_, options_, 1), b = other.say("three", end_, options_, 1);
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(chat.session().text(), other.session().text());
  }
  Chat chat = fresh();
  EXPECT_FALSE(chat.undo());
  chat.say("one", end_, options_, 1);
  EXPECT_TRUE(chat.undo());
  EXPECT_FALSE(chat.undo());
}

TEST_F(Chats, GoOnFromAFile) {
  const std::string path = folder_ / "chat";
  Chat chat = fresh();
  chat.say("one", end_, options_, 1);
  chat.save(path);
  const auto open = [&] {
    return Chat(Session::open(model_, tokenizer_, path), tokenizer_, ChatTemplate(kPlainChatTemplate), "");
  };
  Chat again = open();
  EXPECT_EQ(again.messages(), chat.messages());
  EXPECT_EQ(again.say("two", end_, options_, 1).ids, chat.say("two", end_, options_, 1).ids);
  // Undone in another process: no place is remembered there, the text is read again.
  again = open();
  ASSERT_TRUE(again.undo());
  Chat other = fresh();
  EXPECT_EQ(again.say("three", end_, options_, 1).ids, other.say("three", end_, options_, 1).ids);
  // A story is no conversation.
  Session story(model_, tokenizer_);
  story.go_on({65, 66}, end_, options_, 0);
  story.save(path);
  EXPECT_THROW(open(), Error);
}

TEST_F(Chats, ResetKeepsTheSystemsMessage) {
  Chat chat = fresh(), other = fresh();
  chat.say("one", end_, options_, 1);
  chat.reset();
  EXPECT_EQ(chat.messages().size(), 1U);
  EXPECT_EQ(chat.say("two", end_, options_, 1).ids, other.say("two", end_, options_, 1).ids);
}

// A template that rewrites history (here: it drops all but the last question) is obeyed.
TEST_F(Chats, TemplatesMayRewriteThePast) {
  const std::string source = "Q: {{ (messages | last).content }}\nA:";
  Chat chat = fresh(source);
  chat.say("one", end_, options_, 1);
  const Completion c = chat.say("two", end_, options_, 1);
  Session alone(model_, tokenizer_);
  const std::vector<int32_t> ids = tokenizer_->encode("Q: two\nA:", false);
  EXPECT_EQ(c.ids, alone.go_on({ids.begin(), ids.end()}, end_, options_, 1).ids);
}

}  // namespace
}  // namespace mneme
