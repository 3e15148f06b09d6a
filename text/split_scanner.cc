#include "text/split_scanner.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace mneme {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kGpt2PatternFactored =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CONTRACTION R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
#define LEAD R"([^\r\n\p{L}\p{N}]?)"
const std::string_view kO200kPattern =
    LEAD UPPER "*" LOWER "+" CONTRACTION "|" LEAD UPPER "+" LOWER "*" CONTRACTION
               R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string_view kTekkenPattern = LEAD UPPER
    "*" LOWER "+|" LEAD UPPER "+" LOWER R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
#undef UPPER
#undef LOWER
#undef CONTRACTION
#undef LEAD

namespace {

struct Classified {
  CharKind kind = CharKind::other;
  uint32_t size = 0;  // 0 at the end of the text
};

inline Classified look(const char* p, const char* end) {
  if (p == end) return {};
  const auto lead = static_cast<unsigned char>(*p);
  if (lead < 0x80) return {kAsciiKind[lead], 1};
  const Rune r = decode_valid_rune(p);
  return {wide_char_kind(r.code), r.size};
}

inline const char* skip(const char* p, const char* end, CharKind kind) {
  for (;;) {
    const Classified c = look(p, end);
    if (c.size == 0 || c.kind != kind) return p;
    p += c.size;
  }
}

// Length of a contraction at the apostrophe `p`, 0 when there is none. Without regard to case the long s is
// an s.
template <bool kAnyCase>
size_t contraction(const char* p, const char* end) {
  const auto at = [&](int i) -> char {
    if (end - p <= i) return '\0';
    const char c = p[i];
    return kAnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  switch (at(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return at(2) == 'e' ? 3 : 0;
    case 'l':
      return at(2) == 'l' ? 3 : 0;
    case '\xC5':
      return kAnyCase && at(2) == '\xBF' ? 3 : 0;
    default:
      return 0;
  }
}

// \s+(?!\S)|\s+ : a run of white space leaves its last character to what follows it.
const char* scan_spaces(const char* p, const char* end) {
  const char *last = p, *q = p;
  for (;;) {
    const Classified c = look(q, end);
    if (c.size == 0) return q;
    if (c.kind != CharKind::space) break;
    last = q;
    q += c.size;
  }
  return last == p ? q : last;
}

// \s*[\r\n]+ when the run of white space at `p` has a line end, else nullptr.
const char* scan_lines(const char* p, const char* end) {
  const char* after_line = nullptr;
  for (;;) {
    const Classified c = look(p, end);
    if (c.size == 0 || c.kind != CharKind::space) return after_line;
    const bool line = *p == '\r' || *p == '\n';
    p += c.size;
    if (line) after_line = p;
  }
}

template <int kDigits>
const char* scan_cl100k(const char* p, const char* end) {
  if (*p == '\'') {
    if (const size_t n = contraction<true>(p, end)) return p + n;
  }
  const Classified first = look(p, end);
  if (first.kind == CharKind::letter) return skip(p + first.size, end, CharKind::letter);
  if (first.kind == CharKind::number) {
    const char* q = p + first.size;
    for (int i = 1; i < kDigits; ++i) {
      const Classified c = look(q, end);
      if (c.size == 0 || c.kind != CharKind::number) break;
      q += c.size;
    }
    return q;
  }
  const char* q = p + first.size;
  const Classified second = look(q, end);
  if (*p != '\r' && *p != '\n' && second.size != 0 && second.kind == CharKind::letter) {
    return skip(q + second.size, end, CharKind::letter);
  }
  const bool spaced = *p == ' ' && second.size != 0 && second.kind == CharKind::other;
  if (first.kind == CharKind::other || spaced) {
    q = skip(q, end, CharKind::other);
    while (q < end && (*q == '\r' || *q == '\n')) ++q;
    return q;
  }
  if (const char* lines = scan_lines(p, end)) return lines;
  return scan_spaces(p, end);
}

}  // namespace

const char* scan_gpt2(const char* p, const char* end) {
  if (*p == '\'') {
    if (const size_t n = contraction<false>(p, end)) return p + n;
  }
  const Classified first = look(p, end);
  const char* q = p + first.size;
  if (first.kind != CharKind::space) return skip(q, end, first.kind);
  if (*p == ' ') {
    const Classified second = look(q, end);
    if (second.size != 0 && second.kind != CharKind::space) return skip(q + second.size, end, second.kind);
  }
  return scan_spaces(p, end);
}

SplitScanner find_split_scanner(std::string_view pattern) {
  if (pattern == kGpt2Pattern || pattern == kGpt2PatternFactored) return scan_gpt2;
  if (pattern == kCl100kPattern) return scan_cl100k<3>;
  if (pattern == kQwen2Pattern) return scan_cl100k<1>;
  return nullptr;
}

}  // namespace mneme
