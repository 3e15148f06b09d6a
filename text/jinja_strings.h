// Python's str, operation by operation, where an operation is more than a line. Shared by methods and
// filters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace mneme::jinja {

// Without `characters`: white space. `sides` is any of 'l', 'r'.
std::string strip(std::string_view text, const std::optional<std::string>& characters,
                  std::string_view sides);
std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most);
std::vector<std::string> split_right(std::string_view text, const std::optional<std::string>& separator,
                                     int64_t most);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most);
size_t find_bytes(std::string_view text, std::string_view part, size_t from);  // linear time; npos if absent
size_t find_last(std::string_view text, std::string_view part);                // the same from the right
std::string expand_tabs(std::string_view text, int64_t size);
// One paragraph cut into lines of at most `width` points; a longer word is cut if it may be.
std::vector<std::string> wrap_words(const std::string& text, size_t width, bool cut_words, bool hyphens);
std::optional<int64_t> parse_integer(std::string_view text, int64_t base);  // as int(text, base)
std::optional<double> parse_real(std::string_view text);                    // as float(text)

}  // namespace mneme::jinja
