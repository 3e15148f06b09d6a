#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

const utf8proc_property_t& property(char32_t c) {
  return *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
}

constexpr CharKind ascii_kind(int c) {
  if ((c >= 9 && c <= 13) || c == ' ') return CharKind::space;
  if (c >= '0' && c <= '9') return CharKind::number;
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return CharKind::letter;
  return CharKind::other;
}

template <size_t... I>
constexpr std::array<CharKind, sizeof...(I)> ascii_kinds(std::index_sequence<I...>) {
  return {ascii_kind(static_cast<int>(I))...};
}

constexpr std::array<CharKind, 128> kKinds = ascii_kinds(std::make_index_sequence<128>());

bool within(char32_t c, char32_t low, char32_t high) { return c >= low && c <= high; }

}  // namespace

const std::array<CharKind, 128> kAsciiKind = kKinds;

bool is_white_space(char32_t c) {
  if (c < 0x80) return ascii_kind(static_cast<int>(c)) == CharKind::space;
  return c == 0x85 || c == 0xA0 || c == 0x1680 || within(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

CharKind wide_char_kind(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharKind::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharKind::number;
    default:
      return is_white_space(c) ? CharKind::space : CharKind::other;
  }
}

bool is_word_char(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // The symbols with Other_Alphabetic, and Join_Control.
      return within(c, 0x24B6, 0x24E9) || within(c, 0x1F130, 0x1F149) || within(c, 0x1F150, 0x1F169) ||
             within(c, 0x1F170, 0x1F189) || c == 0x200C || c == 0x200D;
  }
}

bool is_decimal_digit(char32_t c) {
  return c < 0x80 ? within(c, '0', '9') : category(c) == UTF8PROC_CATEGORY_ND;
}

bool is_ascii_punctuation(char32_t c) {
  return within(c, '!', '/') || within(c, ':', '@') || within(c, '[', '`') || within(c, '{', '~');
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return is_ascii_punctuation(c);
  switch (category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return true;
    default:
      return false;
  }
}

bool is_nonspacing_mark(char32_t c) { return c >= 0x300 && category(c) == UTF8PROC_CATEGORY_MN; }

bool is_mark(char32_t c) {
  if (c < 0x300) return false;
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool is_control(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

bool is_cjk_ideograph(char32_t c) {
  // The fifth range begins at 2B920 in the reference too.
  return within(c, 0x4E00, 0x9FFF) || within(c, 0x3400, 0x4DBF) || within(c, 0x20000, 0x2A6DF) ||
         within(c, 0x2A700, 0x2B73F) || within(c, 0x2B740, 0x2B81F) || within(c, 0x2B920, 0x2CEAF) ||
         within(c, 0xF900, 0xFAFF) || within(c, 0x2F800, 0x2FA1F);
}

void append_lowercase(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(within(c, 'A', 'Z') ? c + 32 : c);
  } else if (c == 0x130) {  // the only character whose lower case is two
    out += "i\xCC\x87";
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

namespace {

// Neither changed by any form nor taking part in a composition.
bool is_inert(char32_t c) {
  const auto& p = property(c);
  return p.combining_class == 0 && p.decomp_seqindex == UINT16_MAX && p.comb_index == UINT16_MAX &&
         !within(c, 0x1100, 0x11FF) && !within(c, 0xAC00, 0xD7A3);
}

struct FormTraits {
  utf8proc_option_t options;
  char32_t stable_below;  // these neither change nor combine with what stands before them
  bool compose;
};

FormTraits traits_of(NormalForm form) {
  const auto canonical = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
  const auto compatible = static_cast<utf8proc_option_t>(canonical | UTF8PROC_COMPAT);
  switch (form) {
    case NormalForm::nfc:
      return {canonical, 0x300, true};
    case NormalForm::nfd:
      return {canonical, 0xC0, false};
    case NormalForm::nfkc:
      return {compatible, 0xA0, true};
    case NormalForm::nfkd:
      return {compatible, 0xA0, false};
  }
  return {canonical, 0, false};
}

void append_decomposition(std::vector<utf8proc_int32_t>& out, char32_t c, const FormTraits& form) {
  utf8proc_int32_t buffer[32];  // the longest decomposition has 18 characters
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 32, form.options, nullptr);
  MNEME_CHECK(n >= 0 && n <= 32);
  out.insert(out.end(), buffer, buffer + n);
}

void order_marks(std::vector<utf8proc_int32_t>& runes) {
  const auto rank = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto i = runes.begin(); i != runes.end();) {
    if (*i < 0x300 || rank(*i) == 0) {
      ++i;
      continue;
    }
    auto end = i;
    while (end != runes.end() && *end >= 0x300 && rank(*end) != 0) ++end;
    std::stable_sort(i, end, [&](auto a, auto b) { return rank(a) < rank(b); });
    i = end;
  }
}

void normalize_segment(std::string_view text, const FormTraits& form, std::vector<utf8proc_int32_t>& runes,
                       std::string& out) {
  runes.clear();
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const Rune r = decode_valid_rune(p);
    append_decomposition(runes, r.code, form);
    p += r.size;
  }
  order_marks(runes);
  auto count = static_cast<utf8proc_ssize_t>(runes.size());
  if (form.compose) {
    count = utf8proc_normalize_utf32(runes.data(), count,
                                     static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    MNEME_CHECK(count >= 0);
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(runes[i]));
}

}  // namespace

std::string normalize_unicode(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  const FormTraits traits = traits_of(form);
  const auto settled = [&](char32_t c) { return c < traits.stable_below || is_inert(c); };
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  std::vector<utf8proc_int32_t> runes;
  // A segment to normalise begins at the character before the first unsettled one and ends before the next
  // settled one.
  size_t copied = 0, previous = 0;
  for (size_t i = 0; i < text.size();) {
    const Rune r = decode_valid_rune(text.data() + i);
    if (settled(r.code)) {
      previous = i;
      i += r.size;
      continue;
    }
    out.append(text, copied, previous - copied);
    size_t end = i + r.size;
    while (end < text.size()) {
      const Rune next = decode_valid_rune(text.data() + end);
      if (settled(next.code)) break;
      end += next.size;
    }
    normalize_segment(text.substr(previous, end - previous), traits, runes, out);
    copied = previous = i = end;
  }
  out.append(text, copied, text.size() - copied);
  return out;
}

size_t grapheme_size(std::string_view text) {
  Rune last = decode_valid_rune(text.data());
  size_t size = last.size;
  utf8proc_int32_t state = 0;
  while (size < text.size()) {
    const Rune next = decode_valid_rune(text.data() + size);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.code),
                                         static_cast<utf8proc_int32_t>(next.code), &state)) {
      break;
    }
    size += next.size;
    last = next;
  }
  return size;
}

}  // namespace mneme
