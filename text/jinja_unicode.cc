#include "text/jinja_unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <unordered_map>

namespace mneme::jinja {
namespace {

// Code points whose upper case is more than one: each entry is the point and then its upper case.
constexpr std::string_view kLongUpper =
    "\u00DFSS \u0149\u02BCN \u01F0J\u030C \u0390\u0399\u0308\u0301 \u03B0\u03A5\u0308\u0301 "
    "\u0587\u0535\u0552 \u1E96H\u0331 \u1E97T\u0308 \u1E98W\u030A \u1E99Y\u030A \u1E9AA\u02BE "
    "\u1F50\u03A5\u0313 \u1F52\u03A5\u0313\u0300 \u1F54\u03A5\u0313\u0301 \u1F56\u03A5\u0313\u0342 "
    "\u1F80\u1F08\u0399 \u1F81\u1F09\u0399 \u1F82\u1F0A\u0399 \u1F83\u1F0B\u0399 \u1F84\u1F0C\u0399 "
    "\u1F85\u1F0D\u0399 \u1F86\u1F0E\u0399 \u1F87\u1F0F\u0399 \u1F88\u1F08\u0399 \u1F89\u1F09\u0399 "
    "\u1F8A\u1F0A\u0399 \u1F8B\u1F0B\u0399 \u1F8C\u1F0C\u0399 \u1F8D\u1F0D\u0399 \u1F8E\u1F0E\u0399 "
    "\u1F8F\u1F0F\u0399 \u1F90\u1F28\u0399 \u1F91\u1F29\u0399 \u1F92\u1F2A\u0399 \u1F93\u1F2B\u0399 "
    "\u1F94\u1F2C\u0399 \u1F95\u1F2D\u0399 \u1F96\u1F2E\u0399 \u1F97\u1F2F\u0399 \u1F98\u1F28\u0399 "
    "\u1F99\u1F29\u0399 \u1F9A\u1F2A\u0399 \u1F9B\u1F2B\u0399 \u1F9C\u1F2C\u0399 \u1F9D\u1F2D\u0399 "
    "\u1F9E\u1F2E\u0399 \u1F9F\u1F2F\u0399 \u1FA0\u1F68\u0399 \u1FA1\u1F69\u0399 \u1FA2\u1F6A\u0399 "
    "\u1FA3\u1F6B\u0399 \u1FA4\u1F6C\u0399 \u1FA5\u1F6D\u0399 \u1FA6\u1F6E\u0399 \u1FA7\u1F6F\u0399 "
    "\u1FA8\u1F68\u0399 \u1FA9\u1F69\u0399 \u1FAA\u1F6A\u0399 \u1FAB\u1F6B\u0399 \u1FAC\u1F6C\u0399 "
    "\u1FAD\u1F6D\u0399 \u1FAE\u1F6E\u0399 \u1FAF\u1F6F\u0399 \u1FB2\u1FBA\u0399 \u1FB3\u0391\u0399 "
    "\u1FB4\u0386\u0399 \u1FB6\u0391\u0342 \u1FB7\u0391\u0342\u0399 \u1FBC\u0391\u0399 "
    "\u1FC2\u1FCA\u0399 \u1FC3\u0397\u0399 \u1FC4\u0389\u0399 \u1FC6\u0397\u0342 "
    "\u1FC7\u0397\u0342\u0399 \u1FCC\u0397\u0399 \u1FD2\u0399\u0308\u0300 \u1FD3\u0399\u0308\u0301 "
    "\u1FD6\u0399\u0342 \u1FD7\u0399\u0308\u0342 \u1FE2\u03A5\u0308\u0300 \u1FE3\u03A5\u0308\u0301 "
    "\u1FE4\u03A1\u0313 \u1FE6\u03A5\u0342 \u1FE7\u03A5\u0308\u0342 \u1FF2\u1FFA\u0399 "
    "\u1FF3\u03A9\u0399 \u1FF4\u038F\u0399 \u1FF6\u03A9\u0342 \u1FF7\u03A9\u0342\u0399 "
    "\u1FFC\u03A9\u0399 \uFB00FF \uFB01FI \uFB02FL \uFB03FFI \uFB04FFL \uFB05ST \uFB06ST "
    "\uFB13\u0544\u0546 \uFB14\u0544\u0535 \uFB15\u0544\u053B \uFB16\u054E\u0546 \uFB17\u0544\u053D ";

const std::unordered_map<uint32_t, std::vector<uint32_t>>& long_upper() {
  static const auto table = [] {
    std::unordered_map<uint32_t, std::vector<uint32_t>> made;
    std::vector<uint32_t> entry;
    for (uint32_t point : points_of(kLongUpper)) {
      if (point != ' ') {
        entry.push_back(point);
      } else {
        made.emplace(entry[0], std::vector<uint32_t>(entry.begin() + 1, entry.end()));
        entry.clear();
      }
    }
    return made;
  }();
  return table;
}

utf8proc_category_t category(uint32_t point) { return utf8proc_category(static_cast<int32_t>(point)); }

void append_upper(std::vector<uint32_t>& out, uint32_t point) {
  auto special = point < 0x80 ? long_upper().end() : long_upper().find(point);
  if (point >= 0x80 && special != long_upper().end()) {
    out.insert(out.end(), special->second.begin(), special->second.end());
  } else {
    out.push_back(static_cast<uint32_t>(utf8proc_toupper(static_cast<int32_t>(point))));
  }
}

void append_title(std::vector<uint32_t>& out, uint32_t point) {
  auto single = static_cast<uint32_t>(utf8proc_totitle(static_cast<int32_t>(point)));
  auto special = long_upper().find(point);
  if (special == long_upper().end() || (single != point && point != 0xDF)) {
    out.push_back(single);
    return;
  }
  out.push_back(special->second[0]);
  for (size_t i = 1; i < special->second.size(); ++i) {
    out.push_back(static_cast<uint32_t>(utf8proc_tolower(static_cast<int32_t>(special->second[i]))));
  }
}

// Python's rule for the Greek final sigma: a cased letter before it and none after, skipping what case
// ignores.
bool case_ignorable(uint32_t p) {
  utf8proc_category_t c = category(p);
  return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
         c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK || p == '\'' || p == '.' || p == ':' ||
         p == 0xB7 || p == 0x2019;
}

bool final_sigma(const std::vector<uint32_t>& text, size_t at) {
  size_t before = at;
  while (before > 0 && case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = at + 1;
  while (after < text.size() && case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

void append_lower(std::vector<uint32_t>& out, const std::vector<uint32_t>& text, size_t at) {
  uint32_t point = text[at];
  if (point == 0x130) {
    out.push_back('i');
    out.push_back(0x307);
  } else if (point == 0x3A3) {
    out.push_back(final_sigma(text, at) ? 0x3C2 : 0x3C3);
  } else {
    out.push_back(static_cast<uint32_t>(utf8proc_tolower(static_cast<int32_t>(point))));
  }
}

}  // namespace

bool is_ascii(std::string_view text) {
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

bool valid_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t point = 0;
    utf8proc_ssize_t used = utf8proc_iterate(at, left, &point);
    if (used <= 0) return false;
    at += used;
    left -= used;
  }
  return true;
}

size_t point_size(unsigned char lead) { return lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

int64_t count_points(std::string_view text) {
  int64_t count = 0;
  for (char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

uint32_t point_at(std::string_view text, size_t offset, size_t* size) {
  utf8proc_int32_t point = 0;
  utf8proc_ssize_t used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset,
                                           static_cast<utf8proc_ssize_t>(text.size() - offset), &point);
  *size = used > 0 ? static_cast<size_t>(used) : 1;
  return used > 0 ? static_cast<uint32_t>(point) : 0xFFFD;
}

std::vector<uint32_t> points_of(std::string_view text) {
  std::vector<uint32_t> points;
  points.reserve(text.size());
  for (size_t at = 0, size = 0; at < text.size(); at += size) points.push_back(point_at(text, at, &size));
  return points;
}

void append_point(std::string& text, uint32_t point) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t size = utf8proc_encode_char(static_cast<int32_t>(point), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

std::string text_of(const std::vector<uint32_t>& points) {
  std::string text;
  text.reserve(points.size());
  for (uint32_t point : points) append_point(text, point);
  return text;
}

size_t offset_of(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += point_size(static_cast<unsigned char>(text[at]));
  return at < text.size() ? at : text.size();
}

bool is_space(uint32_t p) {
  return (p >= 9 && p <= 13) || (p >= 0x1C && p <= 0x20) || p == 0x85 || p == 0xA0 || p == 0x1680 ||
         (p >= 0x2000 && p <= 0x200A) || p == 0x2028 || p == 0x2029 || p == 0x202F || p == 0x205F ||
         p == 0x3000;
}

bool is_printable(uint32_t p) {
  if (p == ' ') return true;
  switch (category(p)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(uint32_t p) {
  utf8proc_category_t c = category(p);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(uint32_t p) { return category(p) == UTF8PROC_CATEGORY_ND; }

bool is_digit(uint32_t p) {
  return is_decimal(p) || p == 0xB2 || p == 0xB3 || p == 0xB9 || p == 0x2070 ||
         (p >= 0x2074 && p <= 0x2079) || (p >= 0x2080 && p <= 0x2089) || (p >= 0x2460 && p <= 0x2468) ||
         (p >= 0x2474 && p <= 0x247C) || (p >= 0x2488 && p <= 0x2490);
}

bool is_numeric(uint32_t p) {
  utf8proc_category_t c = category(p);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool is_upper(uint32_t p) { return utf8proc_isupper(static_cast<int32_t>(p)) != 0; }
bool is_lower(uint32_t p) { return utf8proc_islower(static_cast<int32_t>(p)) != 0; }
bool is_title(uint32_t p) { return category(p) == UTF8PROC_CATEGORY_LT; }
bool is_cased(uint32_t p) { return is_upper(p) || is_lower(p) || is_title(p); }
bool is_word(uint32_t p) { return p == '_' || is_alnum(p); }

std::string upper(std::string_view text) {
  std::vector<uint32_t> out;
  for (uint32_t point : points_of(text)) append_upper(out, point);
  return text_of(out);
}

std::string lower(std::string_view text) {
  std::vector<uint32_t> points = points_of(text), out;
  for (size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return text_of(out);
}

std::string fold(std::string_view text) {
  utf8proc_uint8_t* folded = nullptr;
  utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &folded, UTF8PROC_CASEFOLD);
  if (size < 0) return lower(text);
  std::string result(reinterpret_cast<const char*>(folded), static_cast<size_t>(size));
  std::free(folded);
  return result;
}

std::string capitalize(std::string_view text) {
  std::vector<uint32_t> points = points_of(text), out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == 0) {
      append_title(out, points[i]);
    } else {
      append_lower(out, points, i);
    }
  }
  return text_of(out);
}

std::string title(std::string_view text) {
  std::vector<uint32_t> points = points_of(text), out;
  bool inside = false;
  for (size_t i = 0; i < points.size(); ++i) {
    if (inside) {
      append_lower(out, points, i);
    } else {
      append_title(out, points[i]);
    }
    inside = is_cased(points[i]);
  }
  return text_of(out);
}

std::string swap_case(std::string_view text) {
  std::vector<uint32_t> points = points_of(text), out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (is_upper(points[i])) {
      append_lower(out, points, i);
    } else if (is_lower(points[i])) {
      append_upper(out, points[i]);
    } else {
      out.push_back(points[i]);
    }
  }
  return text_of(out);
}

}  // namespace mneme::jinja
