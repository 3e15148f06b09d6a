#include "text/byte_glyphs.h"

#include <array>

#include "text/utf8.h"

namespace mneme {
namespace {

struct Glyphs {
  std::array<std::string, 256> of_byte;
  std::array<int16_t, 0x144> byte_of;  // by code; -1: no glyph

  Glyphs() {
    byte_of.fill(-1);
    char32_t spare = 256;
    for (int b = 0; b < 256; ++b) {
      const bool visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const char32_t code = visible ? static_cast<char32_t>(b) : spare++;
      append_utf8(of_byte[b], code);
      byte_of[code] = static_cast<int16_t>(b);
    }
  }
};

const Glyphs& glyphs() {
  static const Glyphs table;
  return table;
}

}  // namespace

std::string_view glyph_of_byte(uint8_t byte) { return glyphs().of_byte[byte]; }

std::string bytes_to_glyphs(std::string_view bytes) {
  const Glyphs& table = glyphs();
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) out += table.of_byte[static_cast<unsigned char>(c)];
  return out;
}

bool glyphs_to_bytes(std::string_view text, std::string& out) {
  const Glyphs& table = glyphs();
  const size_t before = out.size();
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const Rune r = decode_rune(p, end);
    const int byte = r.valid && r.code < table.byte_of.size() ? table.byte_of[r.code] : -1;
    if (byte < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(byte);
    p += r.size;
  }
  return true;
}

bool decode_base64(std::string_view text, std::string& out) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return false;
  out.reserve(out.size() + text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+') {
      value = 62;
    } else if (c == '/') {
      value = 63;
    } else {
      return false;
    }
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return true;
}

}  // namespace mneme
