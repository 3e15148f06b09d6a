// "{0.name!r:>{width}}".format(...), with the access rules of templates for what stands in the braces.
#include "text/jinja_format.h"
#include "text/jinja_operators.h"

namespace mneme::jinja {
namespace {

class Braces {
 public:
  Braces(const Arguments& arguments, bool markup) : arguments_(arguments), markup_(markup) {}

  std::string fill(std::string_view text, int depth) {
    if (depth > 2) fail("Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < text.size();) {
      char c = text[at];
      if (c != '{' && c != '}') {
        out += c;
        ++at;
      } else if (at + 1 < text.size() && text[at + 1] == c) {
        out += c;
        at += 2;
      } else if (c == '}') {
        fail("Single '}' encountered in format string");
      } else {
        size_t close = matching(text, at);
        out += field(text.substr(at + 1, close - at - 1), depth);
        at = close + 1;
      }
      spend(16);
    }
    return out;
  }

 private:
  static size_t matching(std::string_view text, size_t open) {
    int depth = 0;
    for (size_t at = open; at < text.size(); ++at) {
      if (text[at] == '{') ++depth;
      if (text[at] == '}' && --depth == 0) return at;
    }
    fail("expected '}' before end of string");
  }

  std::string field(std::string_view inside, int depth) {
    size_t stop = 0;
    for (int brackets = 0; stop < inside.size(); ++stop) {
      if (inside[stop] == '[') ++brackets;
      if (inside[stop] == ']') --brackets;
      if (brackets <= 0 && (inside[stop] == '!' || inside[stop] == ':')) break;
    }
    Value value = look_up(inside.substr(0, stop));
    std::string_view rest = inside.substr(stop);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
        fail("expected ':' after conversion specifier");
      if (rest[1] == 'r') {
        value = value.repr();
      } else if (rest[1] == 's') {
        value = value.str();
      } else if (rest[1] == 'a') {
        value = format_percent(Value("%a"), Value::tuple({value}));
      } else {
        fail("Unknown conversion specifier " + std::string(rest.substr(1, 1)));
      }
      rest.remove_prefix(2);
    }
    std::string spec = rest.empty() ? "" : fill(rest.substr(1), depth + 1);
    std::string out = format_spec(value, spec);
    bool safe = value.text() && value.text()->markup;
    return markup_ && !safe ? escape_html(out) : out;
  }

  Value look_up(std::string_view name) {
    size_t stop = std::min(name.find_first_of(".["), name.size());
    Value value = first(std::string(name.substr(0, stop)));
    for (size_t at = stop; at < name.size();) {
      if (name[at] == '.') {
        size_t end = std::min(name.find_first_of(".[", at + 1), name.size());
        if (end == at + 1) fail("Empty attribute in format string");
        value = attribute(value, std::string(name.substr(at + 1, end - at - 1)));
        at = end;
      } else {
        size_t end = name.find(']', at);
        if (name[at] != '[' || end == std::string_view::npos) fail("Missing ']' in format string");
        std::string key(name.substr(at + 1, end - at - 1));
        if (key.empty()) fail("Empty attribute in format string");
        value = is_number(key) ? item(value, Value(static_cast<int64_t>(std::stoll(key))))
                               : item(value, Value(key));
        at = end + 1;
      }
    }
    return value;
  }

  Value first(const std::string& name) {
    if (name.empty() || is_number(name)) {
      if (name.empty() ? numbered_ : automatic_) {
        fail("cannot switch between manual field specification and automatic field numbering");
      }
      (name.empty() ? automatic_ : numbered_) = true;
      size_t index = name.empty() ? next_++ : static_cast<size_t>(std::stoll(name));
      if (index >= arguments_.positional.size())
        fail("Replacement index " + std::to_string(index) + " out of range");
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    fail("KeyError: " + quote(name));
  }

  static bool is_number(const std::string& text) {
    return !text.empty() && text.size() < 18 && text.find_first_not_of("0123456789") == std::string::npos;
  }

  const Arguments& arguments_;
  bool markup_;
  size_t next_ = 0;
  bool automatic_ = false, numbered_ = false;
};

}  // namespace

Value format_braces(const Value& format, const Arguments& arguments) {
  const Text& text = *format.text();
  std::string out = Braces(arguments, text.markup).fill(text.bytes, 0);
  return {std::move(out), text.markup};
}

}  // namespace mneme::jinja
