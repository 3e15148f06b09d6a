#include "text/utf8.h"

#include <cstring>

namespace mneme {

Rune decode_rune(const char* p, const char* end) {
  const auto lead = static_cast<unsigned char>(*p);
  if (lead < 0x80) return {lead, 1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const uint32_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and codes past U+10FFFF.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t code = lead & (0x7F >> size);
  for (uint32_t i = 1; i < size; ++i) {
    if (p + i == end) return {kReplacement, i, false, true};
    const auto b = static_cast<unsigned char>(p[i]);
    if (b < low || b > high) return {kReplacement, i, false, false};
    code = code << 6 | (b & 63);
    low = 0x80;
    high = 0xBF;
  }
  return {code, size, true, false};
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
            static_cast<char>(0x80 | (c & 63))};
  } else {
    out += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
            static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  }
}

namespace {

// Length of the ASCII prefix of [p, end), eight bytes at a time.
size_t ascii_prefix(const char* p, const char* end) {
  const char* start = p;
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    if (word & 0x8080808080808080u) break;
    p += 8;
  }
  while (p < end && static_cast<unsigned char>(*p) < 0x80) ++p;
  return static_cast<size_t>(p - start);
}

}  // namespace

bool is_ascii(std::string_view text) {
  return ascii_prefix(text.data(), text.data() + text.size()) == text.size();
}

bool is_utf8(std::string_view text) {
  const char *p = text.data(), *end = p + text.size();
  while (p < end) {
    p += ascii_prefix(p, end);
    while (p < end && static_cast<unsigned char>(*p) >= 0x80) {
      const Rune r = decode_rune(p, end);
      if (!r.valid) return false;
      p += r.size;
    }
  }
  return true;
}

std::string repaired_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char *p = text.data(), *end = p + text.size();
  while (p < end) {
    const size_t plain = ascii_prefix(p, end);
    out.append(p, plain);
    p += plain;
    if (p == end) break;
    const Rune r = decode_rune(p, end);
    out.append(r.valid ? std::string_view(p, r.size) : kReplacementUtf8);
    p += r.size;
  }
  return out;
}

uint64_t count_runes(std::string_view text) {
  uint64_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_ + std::string(bytes);
    held_.clear();
    bytes = joined;
  }
  const char *p = bytes.data(), *end = p + bytes.size();
  while (p < end) {
    const size_t plain = ascii_prefix(p, end);
    out.append(p, plain);
    p += plain;
    if (p == end) break;
    const Rune r = decode_rune(p, end);
    if (r.cut) {
      held_.assign(p, end);
      return;
    }
    out.append(r.valid ? std::string_view(p, r.size) : kReplacementUtf8);
    p += r.size;
  }
}

void Utf8Stream::finish(std::string& out) {
  if (!held_.empty()) out += kReplacementUtf8;
  held_.clear();
}

}  // namespace mneme
