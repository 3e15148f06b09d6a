// Filters of texts and numbers.
#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_strings.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

// The subject as text; the mark of safe text stays.
Value soft(const Value& x) { return x.text() ? x : Value(x.str()); }
bool marked(const Value& x) { return x.text() && x.text()->markup; }

const std::string& demand_text(const Value& x, const char* filter) {
  if (x.is_undefined()) fail_undefined(x);
  if (!x.text()) fail(std::string(filter) + " needs a string, not " + x.type_name());
  return x.text()->bytes;
}

template <std::string (*change)(std::string_view)>
Value changed_text(const Value& x, Arguments& given) {
  Bound("filter", given, {});
  std::string text = x.str();
  spend(text.size() * 8);
  return {change(text), marked(x)};
}

Value trim(const Value& x, Arguments& given) {
  Bound bound("trim", given, {"chars"});
  std::optional<std::string> chars;
  if (bound.given(0) && !bound[0]->is_none()) chars = bound.text(0, "");
  return {strip(x.str(), chars, "lr"), marked(x)};
}

Value to_string(const Value& x, Arguments& given) {
  Bound("string", given, {});
  return soft(x);
}

Value safe(const Value& x, Arguments& given) {
  Bound("safe", given, {});
  return {x.str(), true};
}

Value escape(const Value& x, Arguments& given) {
  Bound("escape", given, {});
  return marked(x) ? x : Value(escape_html(x.str()), true);
}

Value force_escape(const Value& x, Arguments& given) {
  Bound("forceescape", given, {});
  return {escape_html(x.str()), true};
}

Value replace_filter(const Value& x, Arguments& given) {
  Bound bound("replace", given, {"old", "new", "count"}, 2);
  int64_t count = bound.given(2) && !bound[2]->is_none() ? bound.integer(2, -1) : -1;
  return replace(x.str(), bound[0]->str(), bound[1]->str(), count);
}

// A word starts after blanks, hyphens and opening brackets only, unlike in str.title.
Value title_filter(const Value& x, Arguments& given) {
  Bound("title", given, {});
  std::string out, word;
  std::string text = x.str();
  auto flush = [&] {
    if (word.empty()) return;
    size_t first = point_size(static_cast<unsigned char>(word[0]));
    out += upper(word.substr(0, first)) + lower(word.substr(first));
    word.clear();
  };
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    uint32_t point = point_at(text, at, &size);
    if (is_space(point) ||
        (point < 128 && std::string_view("-({[<").find(static_cast<char>(point)) != std::string_view::npos)) {
      flush();
      out += text.substr(at, size);
    } else {
      word += text.substr(at, size);
    }
  }
  flush();
  return out;
}

Value center(const Value& x, Arguments& given) {
  Bound bound("center", given, {"width"});
  Arguments width;
  width.positional = {Value(bound.integer(0, 80))};
  return method(soft(x), "center")->object()->call(std::move(width));
}

Value indent(const Value& x, Arguments& given) {
  Bound bound("indent", given, {"width", "first", "blank"});
  const std::string& text = demand_text(x, "indent");
  std::string pad = bound.given(0) && bound[0]->text() ? bound[0]->text()->bytes : "";
  if (!bound.given(0) || !bound[0]->text()) pad = multiply(Value(" "), bound.integer(0, 4)).str();
  const bool blank = bound.truth(2, false);
  std::vector<std::string> lines = split_lines(text + "\n", false);
  reserve(lines.size(), pad.size());
  std::string out = bound.truth(1, false) ? pad : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += pad;
    out += lines[i];
  }
  return {std::move(out), marked(x)};
}

Value truncate(const Value& x, Arguments& given) {
  Bound bound("truncate", given, {"length", "killwords", "end", "leeway"});
  if (x.is_undefined()) return x;
  const std::string& text = demand_text(x, "truncate");
  const std::string end = bound.text(2, "...");
  const int64_t length = bound.integer(0, 255), kept = length - count_points(end);
  const int64_t leeway = bound.given(3) && !bound[3]->is_none() ? bound.integer(3, 5) : 5;
  if (kept < 0)
    fail("expected length >= " + std::to_string(count_points(end)) + ", got " + std::to_string(length));
  if (leeway < 0) fail("expected leeway >= 0, got " + std::to_string(leeway));
  if (count_points(text) - leeway <= length) return x;
  std::string head = text.substr(0, offset_of(text, kept));
  if (!bound.truth(1, false)) head = head.substr(0, head.rfind(' '));
  return {head + end, marked(x)};
}

Value word_count(const Value& x, Arguments& given) {
  Bound("wordcount", given, {});
  int64_t count = 0;
  bool inside = false;
  for (uint32_t point : points_of(x.str())) {
    bool word = is_word(point);
    count += word && !inside;
    inside = word;
  }
  return count;
}

Value word_wrap(const Value& x, Arguments& given) {
  Bound bound("wordwrap", given, {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  if (demand_text(x, "wordwrap").empty()) return x;
  const int64_t width = bound.integer(0, 79);
  if (width <= 0) fail("invalid width " + std::to_string(width) + " (must be > 0)");
  std::string joint = bound.given(2) && !bound[2]->is_none() ? bound.text(2, "\n") : "\n", out;
  bool first = true;
  for (const std::string& paragraph : split_lines(demand_text(x, "wordwrap"), false)) {
    std::vector<std::string> lines =
        wrap_words(paragraph, static_cast<size_t>(width), bound.truth(1, true), bound.truth(3, true));
    if (lines.empty()) lines.emplace_back();
    for (const std::string& line : lines) {
      out += (first ? "" : joint) + line;
      first = false;
    }
  }
  return out;
}

Value strip_tags(const Value& x, Arguments& given) {
  Bound("striptags", given, {});
  std::string text = x.str(), out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::string::npos;
    if (text.compare(at, 4, "<!--") == 0) {
      end = find_bytes(text, "-->", at + 4);
      end = end == std::string::npos ? end : end + 3;
    } else if (text[at] == '<') {
      end = text.find('>', at);
      end = end == std::string::npos ? end : end + 1;
    }
    if (end != std::string::npos) {
      at = end;
    } else {
      out += text[at++];
    }
    spend(16);
  }
  std::string spaced;
  for (const std::string& word : split(out, std::nullopt, -1)) spaced += (spaced.empty() ? "" : " ") + word;
  for (auto [from, to] : {std::pair("&lt;", "<"),
                          {"&gt;", ">"},
                          {"&#39;", "'"},
                          {"&#34;", "\""},
                          {"&quot;", "\""},
                          {"&amp;", "&"}}) {
    spaced = replace(spaced, from, to, -1);
  }
  return spaced;
}

std::string url_quote(const Value& value, bool query) {
  static constexpr std::string_view kSafe =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~";
  std::string out;
  for (char c : value.str()) {
    if (kSafe.find(c) != std::string_view::npos || (c == '/' && !query)) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
    }
  }
  return out;
}

Value url_encode(const Value& x, Arguments& given) {
  Bound("urlencode", given, {});
  if (x.text() || !Iterator::possible(x)) return url_quote(x, false);
  std::string out;
  const Value pairs = x.mapping() ? method(x, "items")->object()->call({}) : x;
  for (const Value& pair : items_of(pairs)) {
    std::vector<Value> both = items_of(pair);
    if (both.size() != 2) fail("urlencode needs pairs");
    out += (out.empty() ? "" : "&") + url_quote(both[0], true) + "=" + url_quote(both[1], true);
  }
  return out;
}

Value xml_attributes(const Value& x, Arguments& given) {
  Bound bound("xmlattr", given, {"autospace"});
  if (!x.mapping()) fail("xmlattr needs a mapping, not " + x.type_name());
  std::string out;
  for (const auto& [key, value] : x.mapping()->entries()) {
    if (value.is_none() || value.is_undefined()) continue;
    if (key.str().find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      fail("Invalid character in attribute name: " + key.repr());
    }
    out += (out.empty() ? "" : " ") + escape_html(key.str()) + "=\"" +
           (marked(value) ? value.str() : escape_html(value.str())) + "\"";
  }
  return bound.truth(0, true) && !out.empty() ? " " + out : out;
}

Value format_filter(const Value& x, Arguments& given) {
  if (!given.positional.empty() && !given.named.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  if (given.named.empty()) return format_percent(soft(x), Value::tuple(given.positional));
  return format_percent(soft(x), make_dict(given));
}

Value tojson(const Value& x, Arguments& given) {
  Bound bound("tojson", given, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.truth(0, false);
  style.sort_keys = bound.truth(3, false);
  if (bound.given(1) && !bound[1]->is_none()) {
    style.indent = bound[1]->text() ? bound[1]->text()->bytes
                                    : multiply(Value(" "), std::max<int64_t>(bound.integer(1, 0), 0)).str();
    style.item = ",";
  }
  if (bound.given(2) && !bound[2]->is_none()) {
    std::vector<Value> both = items_of(*bound[2]);
    if (both.size() != 2 || !both[0].text() || !both[1].text())
      fail("tojson: separators must be two strings");
    style.item = both[0].str();
    style.key = both[1].str();
  }
  return dump_json(x, style);
}

std::optional<double> real_of(const Value& x) {
  if (x.is_undefined()) fail_undefined(x);
  if (const Text* text = x.text()) return parse_real(text->bytes);
  return x.as_number();
}

Value to_integer(const Value& x, Arguments& given) {
  Bound bound("int", given, {"default", "base"});
  const Value otherwise = bound.given(0) ? *bound[0] : Value(0);
  const auto base = bound.given(1) ? bound[1]->as_integer() : 10;
  if (const Text* text = x.text(); text && base && (*base == 0 || (*base >= 2 && *base <= 36))) {
    if (auto integer = parse_integer(text->bytes, *base)) return *integer;
  } else if (auto integer = x.as_integer()) {
    return *integer;
  } else if (x.real() && std::isinf(*x.real())) {
    fail("cannot convert float infinity to integer");
  }
  auto real = real_of(x);
  if (!real || !std::isfinite(*real)) return otherwise;
  if (std::abs(*real) >= 9.2e18) fail("an integer does not fit into 64 bits");
  return static_cast<int64_t>(*real);
}

Value to_real(const Value& x, Arguments& given) {
  Bound bound("float", given, {"default"});
  if (auto real = real_of(x)) return *real;
  return bound.given(0) ? *bound[0] : Value(0.0);
}

Value absolute(const Value& x, Arguments& given) {
  Bound("abs", given, {});
  if (x.is_undefined()) fail_undefined(x);
  if (const double* real = x.real()) return std::abs(*real);
  if (!x.as_integer()) fail("bad operand type for abs(): '" + x.type_name() + "'");
  return *x.as_integer() < 0 ? negate(x) : positive(x);
}

Value round_filter(const Value& x, Arguments& given) {
  Bound bound("round", given, {"precision", "method"});
  const bool whole = bound.given(0) && bound[0]->is_none();
  const int64_t precision = whole ? 0 : bound.integer(0, 0);
  const std::string how = bound.text(1, "common");
  if (x.is_undefined()) fail_undefined(x);
  if (!x.is_number()) fail("type " + x.type_name() + " doesn't define __round__ method");
  if (how != "common" && how != "ceil" && how != "floor") fail("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(std::clamp<int64_t>(precision, -400, 400)));
  if (how != "common") {
    double scaled = *x.as_number() * scale;
    return (how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
  }
  if (x.as_integer() && precision >= 0) return positive(x);
  if (whole) {
    double rounded = std::nearbyint(*x.real());
    if (!(std::abs(rounded) < 9.2e18)) fail("an integer does not fit into 64 bits");
    return static_cast<int64_t>(rounded);
  }
  if (precision >= 0) {
    // Through the decimal text: it is rounded correctly, half to even on the exact value, as Python's is.
    if (precision > 330 || !std::isfinite(*x.real())) return x;
    return *parse_real(format_spec(x, "." + std::to_string(precision) + "f"));
  }
  double rounded = std::nearbyint(*x.as_number() * scale) / scale;
  return x.real() ? Value(rounded) : Value(static_cast<int64_t>(rounded));
}

Value file_size(const Value& x, Arguments& given) {
  Bound bound("filesizeformat", given, {"binary"});
  auto real = real_of(x);
  if (!real) fail("could not convert to float: " + x.repr());
  const bool binary = bound.truth(0, false);
  const double base = binary ? 1024 : 1000;
  if (*real == 1) return "1 Byte";
  if (*real < base) return std::to_string(static_cast<int64_t>(*real)) + " Bytes";
  double size = *real / base;
  static constexpr std::string_view kPrefixes = "KMGTPEZY";
  size_t at = 0;
  while (at + 1 < kPrefixes.size() && size >= base) {
    size /= base;
    ++at;
  }
  std::string prefix(1, kPrefixes[at]);
  return format_spec(size, ".1f") + " " + (binary ? prefix + "i" : at == 0 ? "k" : prefix) + "B";
}

}  // namespace

const BuiltinTable& text_filters() {
  static const BuiltinTable table = {{"abs", absolute},
                                     {"capitalize", changed_text<capitalize>},
                                     {"center", center},
                                     {"e", escape},
                                     {"escape", escape},
                                     {"filesizeformat", file_size},
                                     {"float", to_real},
                                     {"forceescape", force_escape},
                                     {"format", format_filter},
                                     {"indent", indent},
                                     {"int", to_integer},
                                     {"lower", changed_text<lower>},
                                     {"replace", replace_filter},
                                     {"round", round_filter},
                                     {"safe", safe},
                                     {"string", to_string},
                                     {"striptags", strip_tags},
                                     {"title", title_filter},
                                     {"tojson", tojson},
                                     {"trim", trim},
                                     {"truncate", truncate},
                                     {"upper", changed_text<upper>},
                                     {"urlencode", url_encode},
                                     {"wordcount", word_count},
                                     {"wordwrap", word_wrap},
                                     {"xmlattr", xml_attributes}};
  return table;
}

}  // namespace mneme::jinja
