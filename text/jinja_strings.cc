#include "text/jinja_strings.h"

#include <string.h>  // memmem

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

bool line_end(uint32_t p) {
  return (p >= 10 && p <= 13) || (p >= 0x1C && p <= 0x1E) || p == 0x85 || p == 0x2028 || p == 0x2029;
}

// The offset of the code point that ends before `at`.
size_t previous(std::string_view text, size_t at) {
  --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

std::string reversed(std::string_view bytes) { return {bytes.rbegin(), bytes.rend()}; }

std::vector<std::string> split_spaces(std::string_view text, int64_t most) {
  std::vector<std::string> parts;
  size_t at = 0, size = 0;
  auto skip = [&](bool space) {
    while (at < text.size() && is_space(point_at(text, at, &size)) == space) at += size;
  };
  for (skip(true); at < text.size(); skip(true)) {
    if (most-- == 0) {
      parts.emplace_back(text.substr(at));
      break;
    }
    size_t begin = at;
    skip(false);
    parts.emplace_back(text.substr(begin, at - begin));
  }
  return parts;
}

std::vector<std::string> split_spaces_right(std::string_view text, int64_t most) {
  std::vector<std::string> parts;
  size_t at = text.size(), size = 0;
  auto skip = [&](bool space) {
    while (at > 0 && is_space(point_at(text, previous(text, at), &size)) == space) at = previous(text, at);
  };
  for (skip(true); at > 0; skip(true)) {
    if (most-- == 0) {
      parts.emplace_back(text.substr(0, at));
      break;
    }
    size_t end = at;
    skip(false);
    parts.emplace_back(text.substr(at, end - at));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

std::string strip(std::string_view text, const std::optional<std::string>& characters,
                  std::string_view sides) {
  spend(text.size());
  std::vector<uint32_t> set = characters ? points_of(*characters) : std::vector<uint32_t>();
  std::sort(set.begin(), set.end());
  auto drop = [&](uint32_t p) {
    return characters ? std::binary_search(set.begin(), set.end(), p) : is_space(p);
  };
  size_t begin = 0, end = text.size(), size = 0;
  if (sides.find('l') != std::string_view::npos) {
    while (begin < end && drop(point_at(text, begin, &size))) begin += size;
  }
  if (sides.find('r') != std::string_view::npos) {
    while (end > begin && drop(point_at(text, previous(text, end), &size))) end = previous(text, end);
  }
  return std::string(text.substr(begin, end - begin));
}

size_t find_bytes(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

size_t find_last(std::string_view text, std::string_view part) {
  size_t at = find_bytes(reversed(text), reversed(part), 0);
  return at == std::string_view::npos ? at : text.size() - at - part.size();
}

std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most) {
  spend(text.size() * 4);
  if (!separator) return split_spaces(text, most);
  if (separator->empty()) fail("empty separator");
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t found = 0;
       most-- != 0 && (found = find_bytes(text, *separator, at)) != std::string_view::npos;) {
    reserve(parts.size() + 1, 64);
    parts.emplace_back(text.substr(at, found - at));
    at = found + separator->size();
  }
  parts.emplace_back(text.substr(at));
  return parts;
}

std::vector<std::string> split_right(std::string_view text, const std::optional<std::string>& separator,
                                     int64_t most) {
  spend(text.size() * 4);
  if (!separator) return split_spaces_right(text, most);
  if (separator->empty()) fail("empty separator");
  // From the right is from the left in the mirror: keeps the search linear.
  std::vector<std::string> parts = split(reversed(text), reversed(*separator), most);
  for (std::string& part : parts) part = reversed(part);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  spend(text.size() * 4);
  std::vector<std::string> lines;
  size_t begin = 0, at = 0, size = 0;
  while (at < text.size()) {
    uint32_t point = point_at(text, at, &size);
    size_t next = at + size;
    if (!line_end(point)) {
      at = next;
      continue;
    }
    if (point == '\r' && next < text.size() && text[next] == '\n') ++next;
    lines.emplace_back(text.substr(begin, (keep_ends ? next : at) - begin));
    begin = at = next;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most) {
  spend(text.size());
  std::string out;
  size_t at = 0;
  if (from.empty()) {
    // Between all code points, before the first and after the last.
    for (size_t size = 0; most-- != 0;) {
      reserve(1, out.size() + to.size());
      out += to;
      if (at >= text.size()) return out;
      point_at(text, at, &size);
      out += text.substr(at, size);
      at += size;
    }
    return out.append(text.substr(at));
  }
  for (size_t found = 0; most-- != 0 && (found = find_bytes(text, from, at)) != std::string_view::npos;) {
    reserve(1, (out.size() + to.size()) / 64);
    out.append(text.substr(at, found - at));
    if (out.size() + to.size() > out.capacity()) reserve(1, 2 * (out.size() + to.size()));
    out += to;
    at = found + from.size();
  }
  return out.append(text.substr(at));
}

std::string expand_tabs(std::string_view text, int64_t size) {
  std::string out;
  int64_t column = 0;
  for (size_t at = 0, width = 0; at < text.size(); at += width) {
    uint32_t point = point_at(text, at, &width);
    if (point == '\t') {
      int64_t fill = size > 0 ? size - column % size : 0;
      reserve(1, out.size() + static_cast<size_t>(fill));
      out.append(static_cast<size_t>(fill), ' ');
      column += fill;
    } else {
      out.append(text.substr(at, width));
      column = point == '\n' || point == '\r' ? 0 : column + 1;
    }
  }
  return out;
}

std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  std::string digits = strip(text, std::nullopt, "lr");
  size_t at = 0;
  bool negative = false;
  if (at < digits.size() && (digits[at] == '+' || digits[at] == '-')) negative = digits[at++] == '-';
  if (base != 0 && (base < 2 || base > 36)) fail("int() base must be >= 2 and <= 36, or 0");
  auto prefix = [&](char letter, int64_t means) {
    if (base != 0 && base != means) return;
    if (at + 1 < digits.size() && digits[at] == '0' && (digits[at + 1] | 32) == letter) {
      base = means;
      at += 2;
      if (at < digits.size() && digits[at] == '_') ++at;
    }
  };
  prefix('x', 16);
  prefix('o', 8);
  prefix('b', 2);
  if (base == 0) {
    base = 10;
    bool zeros = digits.find_first_not_of("0_", at) == std::string::npos;
    if (at < digits.size() && digits[at] == '0' && !zeros) return std::nullopt;
  }
  int64_t number = 0;
  bool digit_before = false;
  for (; at < digits.size(); ++at) {
    char c = digits[at];
    if (c == '_' && digit_before) {
      digit_before = false;
      continue;
    }
    int64_t digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                         : 99;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(number, base, &number) || __builtin_sub_overflow(number, digit, &number)) {
      fail("an integer does not fit into 64 bits");
    }
    digit_before = true;
  }
  if (!digit_before) return std::nullopt;
  if (!negative && number == std::numeric_limits<int64_t>::min())
    fail("an integer does not fit into 64 bits");
  return negative ? number : -number;
}

std::optional<double> parse_real(std::string_view text) {
  std::string digits = strip(text, std::nullopt, "lr"), plain;
  for (size_t i = 0; i < digits.size(); ++i) {
    auto digit = [&](size_t j) { return j < digits.size() && digits[j] >= '0' && digits[j] <= '9'; };
    if (digits[i] == '_') {
      if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
    } else {
      plain += digits[i];
    }
  }
  std::string word = lower(plain);
  if (!word.empty() && (word[0] == '+' || word[0] == '-')) word.erase(0, 1);
  bool named = word == "inf" || word == "infinity" || word == "nan";
  if (!named && plain.find_first_not_of("0123456789+-.eE") != std::string::npos) return std::nullopt;
  char* end = nullptr;
  double value = std::strtod(plain.c_str(), &end);
  if (plain.empty() || *end != 0) return std::nullopt;
  return value;
}

}  // namespace mneme::jinja
