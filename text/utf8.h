// UTF-8: decoding, repair and a decoder for bytes that arrive in parts. Every ill-formed sequence becomes one
// U+FFFD per maximal subpart (Unicode, chapter 3, table 3-8), the practice of WHATWG, Rust and Python.
// It knows no properties of characters: those are in text/unicode.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mneme {

inline constexpr char32_t kReplacement = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

struct Rune {
  char32_t code = kReplacement;
  uint32_t size = 1;  // bytes it takes
  bool valid = false;
  bool cut = false;  // ill-formed only because the text ends
};

// The character at `p`, which is below `end`.
Rune decode_rune(const char* p, const char* end);

// The same for text known to be well-formed.
inline Rune decode_valid_rune(const char* p) {
  const auto b = [p](int i) { return static_cast<unsigned char>(p[i]); };
  const unsigned char lead = b(0);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xE0) return {static_cast<char32_t>((lead & 31) << 6 | (b(1) & 63)), 2, true};
  if (lead < 0xF0) {
    return {static_cast<char32_t>((lead & 15) << 12 | (b(1) & 63) << 6 | (b(2) & 63)), 3, true};
  }
  return {static_cast<char32_t>((lead & 7) << 18 | (b(1) & 63) << 12 | (b(2) & 63) << 6 | (b(3) & 63)), 4,
          true};
}

inline uint32_t rune_size(char lead) {  // of well-formed text
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

void append_utf8(std::string& out, char32_t code);
bool is_ascii(std::string_view text);
bool is_utf8(std::string_view text);
std::string repaired_utf8(std::string_view text);
uint64_t count_runes(std::string_view well_formed);

// Bytes in parts -> well-formed text. What may still become a character is held back until it does.
class Utf8Stream {
 public:
  void push(std::string_view bytes, std::string& out);
  void finish(std::string& out);

 private:
  std::string held_;  // at most three bytes
};

}  // namespace mneme
