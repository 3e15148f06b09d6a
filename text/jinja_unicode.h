// Code points of UTF-8 text, and what Python's str says of them: case, classes, white space. Text handed to
// these is valid UTF-8 (templates are checked when parsed, JSON by its parser); bytes that are not count as
// one each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mneme::jinja {

bool is_ascii(std::string_view text);
bool valid_utf8(std::string_view text);
int64_t count_points(std::string_view text);
size_t point_size(unsigned char lead);  // bytes of the code point that begins with this byte
uint32_t point_at(std::string_view text, size_t offset, size_t* size);
std::vector<uint32_t> points_of(std::string_view text);
void append_point(std::string& text, uint32_t point);
std::string text_of(const std::vector<uint32_t>& points);
size_t offset_of(std::string_view text, int64_t index);  // byte offset of a code point, at most the size

bool is_space(uint32_t point);
bool is_printable(uint32_t point);
bool is_alpha(uint32_t point);
bool is_decimal(uint32_t point);
bool is_digit(uint32_t point);
bool is_numeric(uint32_t point);
bool is_upper(uint32_t point);
bool is_lower(uint32_t point);
bool is_title(uint32_t point);
bool is_cased(uint32_t point);
bool is_word(uint32_t point);  // \w of Python's re
inline bool is_alnum(uint32_t p) { return is_alpha(p) || is_decimal(p) || is_digit(p) || is_numeric(p); }

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string fold(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string swap_case(std::string_view text);

}  // namespace mneme::jinja
