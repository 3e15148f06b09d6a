// Python's ways of formatting: "%5.2f" % x, "{:>8}".format(x), and JSON as json.dumps writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace mneme::jinja {

Value format_percent(const Value& format, const Value& argument);
Value format_braces(const Value& format, const Arguments& arguments);
std::string format_spec(const Value& value, std::string_view spec);

struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // one level of it; absent: all on one line
  std::string item = ", ", key = ": ";
};
std::string dump_json(const Value& value, const JsonStyle& style);

}  // namespace mneme::jinja
