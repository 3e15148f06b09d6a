#include "text/utf8.h"

#include <gtest/gtest.h>

namespace mneme {
namespace {

constexpr const char* kR = "\xEF\xBF\xBD";

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 7) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string s;
    append_utf8(s, c);
    const Rune r = decode_rune(s.data(), s.data() + s.size());
    ASSERT_TRUE(r.valid);
    ASSERT_EQ(r.code, c);
    ASSERT_EQ(r.size, s.size());
    ASSERT_EQ(decode_valid_rune(s.data()).code, c);
    ASSERT_EQ(rune_size(s[0]), s.size());
  }
}

// Table 3-8 of the Unicode standard and its neighbours.
TEST(Utf8, RepairsByMaximalSubparts) {
  const std::string r = kR;
  EXPECT_EQ(repaired_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                          "b\x80"
                          "c\x80\xBF"
                          "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(repaired_utf8("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(repaired_utf8("\xE0\x80\x80"), r + r + r);          // overlong
  EXPECT_EQ(repaired_utf8("\xED\xA0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(repaired_utf8("\xF4\x90\x80\x80"), r + r + r + r);  // past the last code point
  EXPECT_EQ(repaired_utf8("\xF0\x9F\x98"), r);                  // cut short
  EXPECT_EQ(repaired_utf8("\xFF\xFE"), r + r);
  EXPECT_EQ(repaired_utf8("plain"), "plain");
}

TEST(Utf8, Validity) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("abcdefgh\xC3\xA9ijklmnopqrstu\xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_utf8("abcdefghijklmnop\xC3"));
  EXPECT_FALSE(is_utf8("\x80"));
  EXPECT_TRUE(is_ascii("abcdefghij"));
  EXPECT_FALSE(is_ascii("abcdefghi\xC3\xA9"));
  EXPECT_EQ(count_runes("a\xC3\xA9\xF0\x9F\x98\x80"), 3u);
}

TEST(Utf8, StreamEqualsRepairWhateverTheCuts) {
  uint32_t state = 7;
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    static const std::string kUnits[] = {"a",    "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                         "\xF0", "\x80",     "\xE2\x82",     "\xFF"};
    for (uint32_t n = draw(12); n > 0; --n) bytes += kUnits[draw(8)];
    Utf8Stream stream;
    std::string out;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = 1 + draw(3);
      stream.push(std::string_view(bytes).substr(at, n), out);
      EXPECT_TRUE(is_utf8(out));
      at += n;
    }
    stream.finish(out);
    EXPECT_EQ(out, repaired_utf8(bytes));
  }
}

}  // namespace
}  // namespace mneme
