#include "tasks/needle.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

TEST(Needle, TheNeedleStandsWhereItShould) {
  NeedleTask task;
  for (const double depth : {0.0, 0.5, 1.0}) {
    task.depth = depth;
    const NeedleExample made = needle_example(task, 1, 0);
    ASSERT_EQ(made.answers.size(), 1U);
    const size_t at = made.prompt.find("One of the special magic numbers");
    ASSERT_NE(at, std::string::npos);
    EXPECT_NEAR(static_cast<double>(at), 100 + depth * 4000, 350);
    EXPECT_EQ(count_of(made.prompt, made.answers[0]), 1U);
    EXPECT_EQ(answers_found(made.answers, made.completion), 1);
  }
}

TEST(Needle, DistractorsValuesAndSeveralQuestions) {
  NeedleTask task;
  task.keys = 6;
  task.values = 3;
  task.asked = 2;
  const NeedleExample made = needle_example(task, 1, 5);
  EXPECT_EQ(count_of(made.prompt, "One of the special magic numbers"), 18U);
  EXPECT_EQ(made.answers.size(), 6U);
  for (const std::string& answer : made.answers) EXPECT_EQ(count_of(made.prompt, answer), 1U);
  EXPECT_EQ(made.prompt, needle_example(task, 1, 5).prompt);
  EXPECT_NE(made.prompt, needle_example(task, 1, 6).prompt);
}

TEST(Needle, TheLastStatementCounts) {
  NeedleTask task;
  task.updates = 2;
  const NeedleExample made = needle_example(task, 4, 0);
  EXPECT_EQ(count_of(made.prompt, "One of the special magic numbers"), 3U);
  ASSERT_EQ(made.answers.size(), 1U);
  EXPECT_EQ(made.prompt.rfind("is: "), made.prompt.find("is: " + made.answers[0]));
}

TEST(Needle, TheShareOfAnswersFound) {
  EXPECT_EQ(answers_found({"12", "Ab"}, "aB and 13"), 0.5);
  EXPECT_EQ(answers_found({}, "x"), 0);
  NeedleTask task;
  task.asked = 2;
  EXPECT_THROW(needle_example(task, 1, 0), Error);
  task.asked = 1;
  task.depth = 2;
  EXPECT_THROW(needle_example(task, 1, 0), Error);
}

}  // namespace
}  // namespace mneme
