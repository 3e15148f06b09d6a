#include "text/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>

#include "text/utf8.h"

namespace mneme {
namespace {

TEST(Unicode, Kinds) {
  EXPECT_EQ(char_kind('a'), CharKind::letter);
  EXPECT_EQ(char_kind('7'), CharKind::number);
  EXPECT_EQ(char_kind('\n'), CharKind::space);
  EXPECT_EQ(char_kind('_'), CharKind::other);
  EXPECT_EQ(char_kind(0x4E00), CharKind::letter);
  EXPECT_EQ(char_kind(0x2167), CharKind::number);  // a Roman numeral, Nl
  EXPECT_EQ(char_kind(0x85), CharKind::space);
  EXPECT_EQ(char_kind(0x200B), CharKind::other);  // zero width space is no White_Space
  EXPECT_EQ(char_kind(0x301), CharKind::other);
  EXPECT_FALSE(is_white_space(0x180E));
  EXPECT_TRUE(is_word_char(0x301));
  EXPECT_TRUE(is_word_char('_'));
  EXPECT_TRUE(is_word_char(0x200D));
  EXPECT_FALSE(is_word_char('-'));
  EXPECT_TRUE(is_punctuation('$'));      // ASCII symbols count
  EXPECT_FALSE(is_punctuation(0x20AC));  // others do not
  EXPECT_TRUE(is_punctuation(0x3002));
}

TEST(Unicode, Lowercase) {
  std::string s;
  append_lowercase(s, 'Q');
  append_lowercase(s, 0x130);
  append_lowercase(s, 0x3A3);
  EXPECT_EQ(s, "qi\xCC\x87\xCF\x83");
}

std::string reference(const std::string& text, int options) {
  utf8proc_uint8_t* out = nullptr;
  const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                              static_cast<utf8proc_ssize_t>(text.size()), &out,
                              static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  std::string result(reinterpret_cast<char*>(out), static_cast<size_t>(n));
  std::free(out);
  return result;
}

// The forms of whole texts by the library, which is quadratic, against ours, which works on segments.
TEST(Unicode, NormalFormsOfRandomTexts) {
  uint32_t state = 3;
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  static const char32_t kRunes[] = {'a',    'e',    'A',    ' ',     0xE9,   0xC5,   0x300,   0x301,
                                    0x323,  0x30A,  0x345,  0x1112,  0x1161, 0x11AB, 0xAC00,  0xAC01,
                                    0xFB01, 0x1E9B, 0x212B, 0x958,   0x93C,  0x915,  0x2126,  0xFDFA,
                                    0x4E00, 0x3042, 0x3099, 0x1F600, 0x2460, 0xA0,   0x10300, 0x1D15E};
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (uint32_t n = draw(14); n > 0; --n) append_utf8(text, kRunes[draw(std::size(kRunes))]);
    EXPECT_EQ(normalize_unicode(text, NormalForm::nfc), reference(text, UTF8PROC_COMPOSE));
    EXPECT_EQ(normalize_unicode(text, NormalForm::nfd), reference(text, UTF8PROC_DECOMPOSE));
    EXPECT_EQ(normalize_unicode(text, NormalForm::nfkc), reference(text, UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
    EXPECT_EQ(normalize_unicode(text, NormalForm::nfkd),
              reference(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
  }
}

TEST(Unicode, EveryCharacterNormalizesLikeTheLibrary) {
  for (char32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text = "e";
    append_utf8(text, c);
    ASSERT_EQ(normalize_unicode(text, NormalForm::nfc), reference(text, UTF8PROC_COMPOSE))
        << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(normalize_unicode(text, NormalForm::nfkd),
              reference(text, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT))
        << std::hex << static_cast<uint32_t>(c);
  }
}

// Marks in the worst order: a sort by exchange of neighbours would take hours.
TEST(Unicode, LongRunsOfMarksAreOrderedInLinearTime) {
  std::string text = "a";
  for (int i = 0; i < 200000; ++i) text += "\xCC\x81\xCC\xA3";  // 230, 220
  const std::string nfd = normalize_unicode(text, NormalForm::nfd);
  EXPECT_EQ(nfd.size(), text.size());
  EXPECT_EQ(nfd.substr(0, 5), "a\xCC\xA3\xCC\xA3");
  EXPECT_EQ(nfd.substr(nfd.size() - 2), "\xCC\x81");
}

TEST(Unicode, Graphemes) {
  EXPECT_EQ(grapheme_size("ab"), 1u);
  EXPECT_EQ(grapheme_size("\r\na"), 2u);
  EXPECT_EQ(grapheme_size("e\xCC\x81x"), 3u);
  EXPECT_EQ(grapheme_size("\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9z"), 11u);
}

}  // namespace
}  // namespace mneme
