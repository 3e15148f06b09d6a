#include "text/json_cursor.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace mneme {
namespace {

TEST(JsonCursor, ReadsAnObject) {
  JsonCursor in(
      R"( {"a" : 1, "b\u00e9\n\ud83d\ude00": [ -2.5e1 , "x" ], "skipped": {"k": ["]}", 1]}, "c": null} )",
      "x");
  bool first = true;
  in.expect('{');
  ASSERT_TRUE(in.next_element('}', first));
  EXPECT_EQ(in.key(), "a");
  EXPECT_EQ(in.integer(), 1);
  ASSERT_TRUE(in.next_element('}', first));
  EXPECT_EQ(in.key(), "b\xC3\xA9\n\xF0\x9F\x98\x80");
  in.expect('[');
  EXPECT_EQ(in.number(), -25.0);
  in.expect(',');
  EXPECT_EQ(in.string(), "x");
  in.expect(']');
  ASSERT_TRUE(in.next_element('}', first));
  EXPECT_EQ(in.key(), "skipped");
  EXPECT_EQ(in.value_span(), R"({"k": ["]}", 1]})");
  ASSERT_TRUE(in.next_element('}', first));
  EXPECT_EQ(in.key(), "c");
  EXPECT_EQ(in.value_span(), "null");
  EXPECT_FALSE(in.next_element('}', first));
  in.expect_end();
}

TEST(JsonCursor, StringsAgreeWithAParser) {
  for (const char* text : {R"("")", R"("plain")", R"("\"\\\/\b\f\n\r\t")", R"("\u0000\uFFFF")",
                           R"("\ud834\udd1e!")", "\"\xC3\xA9\\u00e9\""}) {
    JsonCursor in(text, "x");
    EXPECT_EQ(in.string(), nlohmann::json::parse(text).get<std::string>());
  }
}

TEST(JsonCursor, RefusesWhatIsNoString) {
  for (const char* text : {"", "a", "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12G4\"", "\"\\ud800\"",
                           "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\""}) {
    JsonCursor in(text, "x");
    EXPECT_THROW(in.string(), Error) << text;
  }
}

TEST(JsonCursor, RefusesWhatDoesNotMatch) {
  EXPECT_THROW(JsonCursor("[1", "x").value_span(), Error);
  EXPECT_THROW(JsonCursor("\"a", "x").value_span(), Error);
  EXPECT_THROW(JsonCursor("", "x").value_span(), Error);
  EXPECT_THROW(JsonCursor(",", "x").value_span(), Error);
  EXPECT_THROW(JsonCursor("1e999", "x").number(), Error);
  EXPECT_THROW(JsonCursor("99999999999999999999", "x").integer(), Error);
  EXPECT_THROW(JsonCursor("1 2", "x").expect_end(), Error);
  JsonCursor in("[1 2]", "x");
  in.expect('[');
  bool first = true;
  ASSERT_TRUE(in.next_element(']', first));
  in.integer();
  EXPECT_THROW(in.next_element(']', first), Error);
}

}  // namespace
}  // namespace mneme
