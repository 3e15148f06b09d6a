// Properties of characters and Unicode normalisation, as the tokenizer libraries define them: \s is
// White_Space, \w is what Rust's regex calls a word character, "numeric" is Nd, Nl and No. Tables are
// utf8proc's (Unicode 15).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace mneme {

enum class CharKind : uint8_t { other, letter, number, space };  // \p{L}, \p{N}, White_Space, the rest

CharKind wide_char_kind(char32_t c);
extern const std::array<CharKind, 128> kAsciiKind;
inline CharKind char_kind(char32_t c) { return c < 128 ? kAsciiKind[c] : wide_char_kind(c); }

bool is_white_space(char32_t c);
bool is_word_char(char32_t c);
bool is_decimal_digit(char32_t c);  // Nd
bool is_ascii_punctuation(char32_t c);
bool is_punctuation(char32_t c);      // ASCII punctuation and symbols, and \p{P}
bool is_mark(char32_t c);             // \p{M}
bool is_nonspacing_mark(char32_t c);  // \p{Mn}
bool is_control(char32_t c);          // Cc, Cf, Co
bool is_cjk_ideograph(char32_t c);    // the blocks that BERT puts spaces around
void append_lowercase(std::string& out, char32_t c);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// Linear in the length of the text, also for long runs of combining marks. The text is well-formed.
std::string normalize_unicode(std::string_view text, NormalForm form);

// Bytes of the extended grapheme cluster that `text` (well-formed, not empty) begins with.
size_t grapheme_size(std::string_view text);

}  // namespace mneme
