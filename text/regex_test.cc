#include "text/regex.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "text/split_scanner.h"
#include "text/utf8.h"

namespace mneme {
namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  const TextRegex regex(pattern, "test");
  TextRegex::Iterator it(regex, text);
  std::vector<std::string> out;
  for (TextRegex::Match m; it.next(m);) out.push_back(text.substr(m.begin, m.end - m.begin));
  return out;
}

using Strings = std::vector<std::string>;

TEST(Regex, ClassesAreOnigurumas) {
  EXPECT_EQ(matches(R"(\s+)", "a \xC2\x85\xE2\x80\xA8"), (Strings{" \xC2\x85\xE2\x80\xA8"}));
  EXPECT_EQ(matches(R"(\S+)", "a\xE1\xA0\x8E b"), (Strings{"a\xE1\xA0\x8E", "b"}));  // U+180E is no space
  EXPECT_EQ(matches(R"(\w+)", "e\xCC\x81_1-x"), (Strings{"e\xCC\x81_1", "x"}));  // marks are word characters
  EXPECT_EQ(matches(R"([\W]+)", "a-+b"), (Strings{"-+"}));
  EXPECT_EQ(matches(R"([^\W\d]+)", "ab12cd"), (Strings{"ab", "cd"}));
  EXPECT_EQ(matches(R"(\d+)", "12\xD9\xA3x"), (Strings{"12\xD9\xA3"}));
  EXPECT_EQ(matches(R"(\h+)", "xBEEFy"), (Strings{"BEEF"}));
  EXPECT_EQ(matches(R"(\u00e9+)", "e\xC3\xA9\xC3\xA9"), (Strings{"\xC3\xA9\xC3\xA9"}));
}

TEST(Regex, NestedAndIntersectedClasses) {
  // As in BLOOM's tokenizer: a bracket inside a class opens a class.
  EXPECT_EQ(matches(R"( ?[^(\s|[.,!?])]+)", "Hi, you|there. ok"), (Strings{"Hi", " you", "there", " ok"}));
  EXPECT_EQ(matches("[a-z&&[^aeiou]]+", "hello world"), (Strings{"h", "ll", "w", "rld"}));
  EXPECT_EQ(matches("[^a-z&&[^aeiou]]+", "hello"), (Strings{"e", "o"}));
  EXPECT_EQ(matches("[[^a]]+", "aba"), (Strings{"b"}));
  EXPECT_EQ(matches("[]a]+", "]a["), (Strings{"]a"}));
  EXPECT_EQ(matches("[[:alpha:]_]+", "a_1"), (Strings{"a_"}));
}

TEST(Regex, RubysQuantifiersAndOptions) {
  EXPECT_EQ(matches("a{2}+", "aaaaa"), (Strings{"aaaa"}));  // (a{2})+, not possessive
  EXPECT_EQ(matches("a{,2}b", "aab"), (Strings{"aab"}));
  EXPECT_EQ(matches("a{x}", "a{x}"), (Strings{"a{x}"}));
  EXPECT_EQ(matches("(?:ab){1,2}+c", "abababc"), (Strings{"abababc"}));
  EXPECT_EQ(matches("(?m:a.b)", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(matches("a.b", "a\nb"), Strings{});
  EXPECT_EQ(matches("(?i:'S)", "'s'S'\xC5\xBF"), (Strings{"'s", "'S", "'\xC5\xBF"}));  // and the long s
  EXPECT_EQ(matches("x$", "x\nx"), (Strings{"x", "x"}));
  EXPECT_EQ(matches("a++b", "aab"), (Strings{"aab"}));
  EXPECT_EQ(matches("(?<!a)b", "ab b"), (Strings{"b"}));
}

TEST(Regex, EmptyMatchesDoNotRepeat) {
  EXPECT_EQ(matches("a*", "baac"), (Strings{"", "aa", ""}));
  EXPECT_EQ(matches("", "\xC3\xA9"), (Strings{"", ""}));
}

TEST(Regex, LiteralsAreQuoted) {
  const std::string text = "a.b*c[d]\xC3\xA9#";
  const TextRegex regex = TextRegex::literal(text, "test");
  TextRegex::Iterator it(regex, text);
  TextRegex::Match m;
  ASSERT_TRUE(it.next(m));
  EXPECT_EQ(m.end, text.size());
}

TEST(Regex, RefusesBrokenPatterns) {
  for (const char* pattern : {"(", "[a", "a\\", "*", "[[:alpha]", "\\p{Nonsense}", "\\u12"}) {
    EXPECT_THROW(TextRegex(pattern, "test"), Error) << pattern;
  }
  EXPECT_THROW(TextRegex(std::string(1000, '['), "test"), Error);
  EXPECT_THROW(TextRegex(std::string(1000, '('), "test"), Error);
}

TEST(Regex, CatastrophesEnd) {
  const TextRegex regex("(a+)+$", "test");
  const std::string text = std::string(5000, 'a') + "!";
  TextRegex::Iterator it(regex, text);
  TextRegex::Match m;
  EXPECT_THROW(it.next(m), Error);
}

// The scanners against the patterns they stand for, on texts that mix everything they look at.
TEST(SplitScanner, AgreesWithItsPattern) {
  uint32_t state = 9;
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  static const std::string kUnits[] = {" ",
                                       " ",
                                       "\n",
                                       "\r",
                                       "\t",
                                       "a",
                                       "Zb",
                                       "'",
                                       "'s",
                                       "'T",
                                       "'re",
                                       "'LL",
                                       "'\xC5\xBF",
                                       "1",
                                       "23",
                                       "\xC2\xBD",
                                       "\xD9\xA3",
                                       "\xC3\xA9",
                                       "e\xCC\x81",
                                       "\xE4\xB8\xAD",
                                       "!",
                                       "..",
                                       "_",
                                       "\xC2\xA0",
                                       "\xC2\x85",
                                       "\xE2\x80\xA8",
                                       "\xE3\x80\x80",
                                       "\xE2\x80\x8B",
                                       "\xF0\x9F\x98\x80",
                                       "\x0B",
                                       "'v",
                                       "'l",
                                       "\xC5\xBF"};
  for (const std::string_view pattern : {kGpt2Pattern, kGpt2PatternFactored, kCl100kPattern, kQwen2Pattern}) {
    const SplitScanner scan = find_split_scanner(pattern);
    ASSERT_NE(scan, nullptr);
    const TextRegex regex(pattern, "test");
    for (int round = 0; round < 20000; ++round) {
      std::string text;
      for (uint32_t n = 1 + draw(12); n > 0; --n) text += kUnits[draw(std::size(kUnits))];
      TextRegex::Iterator it(regex, text);
      const char *p = text.data(), *end = p + text.size();
      for (TextRegex::Match m; it.next(m);) {
        ASSERT_EQ(static_cast<size_t>(p - text.data()), m.begin) << text;
        p = scan(p, end);
        ASSERT_EQ(static_cast<size_t>(p - text.data()), m.end) << text;
      }
      ASSERT_EQ(p, end);
    }
  }
  EXPECT_EQ(find_split_scanner("x"), nullptr);
}

TEST(SplitScanner, EveryCharacterHasTheKindOfItsPattern) {
  const TextRegex letters(R"(\p{L})", "test"), numbers(R"(\p{N})", "test");
  const auto is = [](const TextRegex& regex, const std::string& text) {
    TextRegex::Iterator it(regex, text);
    TextRegex::Match m;
    return it.next(m);
  };
  // Up to Unicode 13, which all versions of the libraries know.
  for (char32_t c = 0; c < 0x3000; ++c) {
    std::string text;
    append_utf8(text, c);
    const char* end = text.data() + text.size();
    std::string pair = text + "1";
    const bool merges_number = scan_gpt2(pair.data(), pair.data() + pair.size()) == pair.data() + pair.size();
    ASSERT_EQ(merges_number, is(numbers, text) || c == ' ') << std::hex << static_cast<uint32_t>(c);
    pair = text + "a";
    const bool merges_letter = scan_gpt2(pair.data(), pair.data() + pair.size()) == pair.data() + pair.size();
    ASSERT_EQ(merges_letter, is(letters, text) || c == ' ') << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(scan_gpt2(text.data(), end), end);
  }
}

}  // namespace
}  // namespace mneme
