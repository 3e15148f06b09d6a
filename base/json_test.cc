#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input) << e.what();
    return e.what();
  }
  return "nothing was thrown";
}

TEST(Json, ParserRefusesBadAndDeepText) {
  EXPECT_THAT(error_of([] { parse_json("{\"a\": }", "f.json"); }),
              HasSubstr("f.json: expected JSON: parse error at line 1"));
  EXPECT_THAT(error_of([] { parse_json("1 2", "f.json"); }), HasSubstr("f.json"));
  EXPECT_THAT(error_of([] { parse_json("\"\xff\"", "f.json"); }), HasSubstr("f.json"));
  EXPECT_THAT(error_of([] { parse_json(std::string(1000000, '['), "f.json"); }), HasSubstr("nested"));
  EXPECT_EQ(parse_json("\"[[[[\\\"[[[\"", "f", 1), "[[[[\"[[[");
  EXPECT_EQ(parse_json("[[1]]", "f", 2)[0][0], 1);
}

TEST(Json, ReaderGivesTypedValues) {
  const auto json = parse_json(
      R"({"i": 3, "x": 2, "s": "t", "b": true, "n": null, "l": [1, 2], "f": [1, 2.5], "w": ["a"], "o": {"k": -1}})",
      "c.json");
  const JsonReader r(json, "c.json");
  EXPECT_EQ(r.integer("i"), 3);
  EXPECT_EQ(r.integer("n", 7), 7);
  EXPECT_EQ(r.integer("none", 8), 8);
  EXPECT_EQ(r.integer_in("i", 1, 3), 3);
  EXPECT_EQ(r.number("x"), 2.0);
  EXPECT_EQ(r.number("none", 0.5), 0.5);
  EXPECT_EQ(r.string("s"), "t");
  EXPECT_EQ(r.string("none", "d"), "d");
  EXPECT_TRUE(r.boolean("b"));
  EXPECT_FALSE(r.boolean("n", false));
  EXPECT_THAT(r.integers("l"), ElementsAre(1, 2));
  EXPECT_THAT(r.numbers("f"), ElementsAre(1, 2.5));
  EXPECT_THAT(r.strings("w"), ElementsAre("a"));
  EXPECT_EQ(r.object("o").integer("k"), -1);
  EXPECT_FALSE(r.object_if("n"));
}

TEST(Json, ReaderErrorsNameThePath) {
  const auto json =
      parse_json(R"({"o": {"p": {"k": "x", "big": 18446744073709551615}}, "l": [1, "2"]})", "c.json");
  const JsonReader r(json, "c.json");
  const JsonReader p = r.object("o").object("p");
  EXPECT_THAT(error_of([&] { p.integer("k"); }),
              HasSubstr("c.json: o.p.k: expected an integer, found \"x\""));
  EXPECT_THAT(error_of([&] { p.integer("big"); }), HasSubstr("expected an integer"));
  EXPECT_THAT(error_of([&] { p.integer("none"); }), HasSubstr("c.json: o.p.none is missing"));
  EXPECT_THAT(error_of([&] { p.integer_in("k", 0, 5); }), HasSubstr("from 0 to 5"));
  EXPECT_THAT(error_of([&] { r.integers("l"); }), HasSubstr("a list of integers, found a list"));
  EXPECT_THAT(error_of([&] { r.object("l"); }), HasSubstr("c.json: l: expected a JSON object"));
  EXPECT_THAT(error_of([&] { JsonReader(json["l"], "c.json"); }),
              HasSubstr("c.json: expected a JSON object"));
}

}  // namespace
}  // namespace mneme
