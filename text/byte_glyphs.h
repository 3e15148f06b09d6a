// Encodings of bytes as text: GPT-2's one visible character a byte (space is U+0120), and base64.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mneme {

std::string_view glyph_of_byte(uint8_t byte);
std::string bytes_to_glyphs(std::string_view bytes);
// Appends the bytes that the glyphs stand for; false, and nothing appended, if some character is no glyph.
bool glyphs_to_bytes(std::string_view glyphs, std::string& out);

// Appends; false if the text is not base64 (with or without padding).
bool decode_base64(std::string_view text, std::string& out);

}  // namespace mneme
