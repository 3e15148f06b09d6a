#include "text/jinja_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

struct Spec {
  std::string fill = " ";
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool alternate = false, zero = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
};

int64_t number_in(std::string_view text, size_t& at) {
  int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = number * 10 + (text[at] - '0');
    if (number > (int64_t{1} << 31)) fail("too many decimal digits in format string");
  }
  return number;
}

std::string print_real(double value, char type, int64_t precision, bool alternate) {
  reserve(1, static_cast<size_t>(precision) + 400);
  char format[] = {'%', '#', '.', '*', type, 0};
  char plain[] = {'%', '.', '*', type, 0};
  std::string out(static_cast<size_t>(precision) + 400, '\0');
  int size =
      std::snprintf(out.data(), out.size(), alternate ? format : plain, static_cast<int>(precision), value);
  out.resize(static_cast<size_t>(size));
  return out;
}

std::string digits_in_base(uint64_t value, unsigned base, bool capital) {
  const char* digits = capital ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out += digits[value % base];
    value /= base;
  } while (value);
  std::reverse(out.begin(), out.end());
  return out;
}

uint64_t magnitude(int64_t value) {
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

std::string pad(const std::string& text, const std::string& fill, char align, int64_t width) {
  int64_t missing = width - count_points(text);
  if (missing <= 0) return text;
  reserve(static_cast<size_t>(missing), fill.size());
  int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

std::string grouped(const std::string& digits, char mark, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && (digits.size() - i) % every == 0) out += mark;
    out += digits[i];
  }
  return out;
}

// A number of which sign, prefix (0x) and body are known, filled to the width.
std::string place_number(const Spec& spec, bool negative, const std::string& prefix,
                         const std::string& body) {
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  size_t whole = std::min(body.find_first_not_of("0123456789abcdefABCDEF"), body.size());
  if (spec.type && std::string_view("eEgGfF%").find(spec.type) != std::string_view::npos) {
    whole = std::min(body.find_first_not_of("0123456789"), body.size());
  }
  std::string digits = body.substr(0, whole), rest = body.substr(whole);
  const size_t every =
      spec.type && std::string_view("bxXo").find(spec.type) != std::string_view::npos ? 4 : 3;
  auto joined = [&] { return spec.grouping ? grouped(digits, spec.grouping, every) : digits; };
  const char align = spec.align ? spec.align : spec.zero ? '=' : '>';
  if (align != '=') return pad(sign + prefix + joined() + rest, spec.fill, align, spec.width);
  int64_t around = static_cast<int64_t>(sign.size() + prefix.size() + rest.size());
  if (spec.fill == "0") {
    reserve(1, static_cast<size_t>(spec.width));
    int64_t missing = spec.width - around - static_cast<int64_t>(digits.size());
    if (!spec.grouping && missing > 0) digits.insert(0, static_cast<size_t>(missing), '0');
    while (spec.grouping && static_cast<int64_t>(joined().size()) + around < spec.width) {
      spend(digits.size());
      digits.insert(0, 1, '0');
    }
    return sign + prefix + joined() + rest;
  }
  return sign + prefix +
         pad(joined() + rest, spec.fill, '>', spec.width - around + static_cast<int64_t>(rest.size()));
}

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  bool filled = false;
  if (!text.empty()) {
    size_t size = std::min(point_size(static_cast<unsigned char>(text[0])), text.size());
    auto is_align = [&](size_t i) {
      return i < text.size() && std::string_view("<>=^").find(text[i]) != std::string_view::npos;
    };
    if (is_align(size)) {
      spec.fill = std::string(text.substr(0, size));
      spec.align = text[size];
      at = size + 1;
      filled = true;
    } else if (is_align(0)) {
      spec.align = text[0];
      at = 1;
    }
  }
  auto have = [&](std::string_view set) {
    return at < text.size() && set.find(text[at]) != std::string_view::npos;
  };
  if (have("+- ")) spec.sign = text[at++];
  if (have("#")) spec.alternate = ++at > 0;
  if (have("0")) {
    spec.zero = ++at > 0;
    if (!filled) spec.fill = "0";
  }
  spec.width = number_in(text, at);
  if (have(",_")) spec.grouping = text[at++];
  if (have(".")) {
    size_t begin = ++at;
    spec.precision = number_in(text, at);
    if (at == begin) fail("Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) fail("Invalid format specifier '" + std::string(text) + "'");
  return spec;
}

std::string format_real(double value, const Spec& spec) {
  const bool negative = std::signbit(value);
  double size = std::abs(value);
  if (!std::isfinite(value)) {
    Spec plain = spec;
    if (plain.fill == "0") plain.fill = " ";
    std::string body = std::isnan(value) ? "nan" : "inf";
    if (spec.type == 'F' || spec.type == 'E' || spec.type == 'G') body = upper(body);
    return place_number(plain, negative && !std::isnan(value), "", body);
  }
  std::string body;
  const int64_t precision = spec.precision.value_or(6);
  switch (spec.type) {
    case 0:
      body = spec.precision ? print_real(size, 'g', std::max<int64_t>(precision, 1), false) : show_real(size);
      if (body.find_first_of(".e") == std::string::npos) body += ".0";
      break;
    case '%':
      body = print_real(size * 100, 'f', precision, spec.alternate) + "%";
      break;
    case 'n':
      body = print_real(size, 'g', precision, spec.alternate);
      break;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      body = print_real(size, spec.type, precision, spec.alternate);
      break;
    default:
      fail(std::string("Unknown format code '") + spec.type + "' for object of type 'float'");
  }
  return place_number(spec, negative, "", body);
}

std::string format_integer(int64_t value, const Spec& spec) {
  const uint64_t size = magnitude(value);
  switch (spec.type) {
    case 0:
    case 'd':
    case 'n':
      if (spec.precision) fail("Precision not allowed in integer format specifier");
      return place_number(spec, value < 0, "", std::to_string(size));
    case 'b':
      return place_number(spec, value < 0, spec.alternate ? "0b" : "", digits_in_base(size, 2, false));
    case 'o':
      return place_number(spec, value < 0, spec.alternate ? "0o" : "", digits_in_base(size, 8, false));
    case 'x':
      return place_number(spec, value < 0, spec.alternate ? "0x" : "", digits_in_base(size, 16, false));
    case 'X':
      return place_number(spec, value < 0, spec.alternate ? "0X" : "", digits_in_base(size, 16, true));
    case 'c': {
      if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        fail("%c arg not in range(0x110000)");
      std::string point;
      append_point(point, static_cast<uint32_t>(value));
      return pad(point, spec.fill, spec.align ? spec.align : '<', spec.width);
    }
    case 's':
      fail("Unknown format code 's' for object of type 'int'");
    default:
      return format_real(static_cast<double>(value), spec);
  }
}

std::string cut(const std::string& text, const std::optional<int64_t>& points) {
  return points ? text.substr(0, offset_of(text, *points)) : text;
}

// Everything that is not printable ASCII as an escape: Python's ascii().
std::string ascii_repr(const Value& value) {
  std::string out;
  for (uint32_t point : points_of(value.repr())) {
    char buffer[16];
    if (point < 0x80) {
      out += static_cast<char>(point);
      continue;
    }
    std::snprintf(buffer, sizeof buffer,
                  point < 0x100     ? "\\x%02x"
                  : point < 0x10000 ? "\\u%04x"
                                    : "\\U%08x",
                  point);
    out += buffer;
  }
  return out;
}

// The arguments of one "%" formatting, taken in order or by name.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value) {
    const Sequence* sequence = value.sequence();
    tuple_ = sequence && sequence->kind == Sequence::Kind::tuple ? sequence : nullptr;
  }
  Value next() {
    if (tuple_) {
      if (used_ >= tuple_->items.size()) fail("not enough arguments for format string");
      return tuple_->items[used_++];
    }
    if (used_++ > 0) fail("not enough arguments for format string");
    return value_;
  }
  Value named(const std::string& key) {
    if (!value_.mapping()) fail("format requires a mapping");
    const Value* found = value_.mapping()->find(Value(key));
    if (!found) fail("KeyError: " + quote(key));
    return *found;
  }
  void finish() const {
    if (tuple_ ? used_ < tuple_->items.size()
               : used_ == 0 && !value_.mapping() && !value_.sequence() && !value_.is_undefined()) {
      fail("not all arguments converted during string formatting");
    }
  }

 private:
  const Value& value_;
  const Sequence* tuple_;
  size_t used_ = 0;
};

std::string convert_percent(const Value& value, char type, Spec spec, bool markup) {
  if (value.is_undefined() && type != 's' && type != 'r' && type != 'a') fail_undefined(value);
  switch (type) {
    case 's':
    case 'r':
    case 'a': {
      std::string text = type == 's' ? value.str() : type == 'r' ? value.repr() : ascii_repr(value);
      if (markup && !(type == 's' && value.text() && value.text()->markup)) text = escape_html(text);
      return pad(cut(text, spec.precision), " ", spec.align == '<' ? '<' : '>', spec.width);
    }
    case 'c':
      if (value.text() && count_points(value.text()->bytes) != 1) fail("%c requires int or char");
      if (value.text()) return pad(value.text()->bytes, " ", spec.align == '<' ? '<' : '>', spec.width);
      spec.type = 'c';
      spec.align = spec.align == '<' ? '<' : '>';
      break;
    default:
      spec.type = type == 'i' || type == 'u' ? 'd' : type;
  }
  if (!value.is_number()) {
    fail(std::string("%") + type + " format: a " +
         (std::string_view("diu").find(type) == std::string_view::npos ? "" : "real ") +
         "number is required, not " + value.type_name());
  }
  if (std::string_view("dxXoc").find(spec.type) != std::string_view::npos) {
    double real = value.real() ? *value.real() : 0;
    if (value.real() && (spec.type != 'd' || !(std::abs(real) < 9e18)))
      fail("a format that needs an integer");
    int64_t integer = value.real() ? static_cast<int64_t>(real) : *value.as_integer();
    if (spec.precision && spec.type != 'c') {  // the least number of digits
      reserve(1, static_cast<size_t>(*spec.precision));
      Spec bare;
      bare.type = spec.type;
      bare.fill = "0";
      bare.align = '=';
      bare.width = *spec.precision + (integer < 0);
      std::string digits = format_integer(integer, bare);
      return pad(digits, " ", spec.align == '<' ? '<' : '>', spec.width);
    }
    return format_integer(integer, spec);
  }
  return format_real(*value.as_number(), spec);
}

}  // namespace

std::string format_spec(const Value& value, std::string_view text) {
  if (text.empty()) return value.str();
  if (!value.is_number() && !value.text()) {
    if (value.is_undefined()) fail_undefined(value);
    fail("unsupported format string passed to " + value.type_name() + ".__format__");
  }
  Spec spec = parse_spec(text);
  if (const Text* t = value.text()) {
    if (spec.type && spec.type != 's') {
      fail(std::string("Unknown format code '") + spec.type + "' for object of type 'str'");
    }
    if (spec.align == '=') fail("'=' alignment not allowed in string format specifier");
    return pad(cut(t->bytes, spec.precision), spec.fill, spec.align ? spec.align : '<', spec.width);
  }
  if (value.real()) return format_real(*value.real(), spec);
  return format_integer(*value.as_integer(), spec);
}

Value format_percent(const Value& format, const Value& argument) {
  const std::string& text = format.text()->bytes;
  PercentArguments arguments(argument);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '%') {
      size_t stop = std::min(text.find('%', at), text.size());
      out.append(text, at, stop - at);
      at = stop;
      continue;
    }
    ++at;
    std::optional<Value> named;
    if (at < text.size() && text[at] == '(') {
      size_t close = text.find(')', at);
      if (close == std::string::npos) fail("incomplete format key");
      named = arguments.named(text.substr(at + 1, close - at - 1));
      at = close + 1;
    }
    Spec spec;
    for (; at < text.size() && std::string_view("-+ #0").find(text[at]) != std::string_view::npos; ++at) {
      if (text[at] == '-') spec.align = '<';
      if (text[at] == '+' || (text[at] == ' ' && spec.sign == '-')) spec.sign = text[at];
      if (text[at] == '#') spec.alternate = true;
      if (text[at] == '0') spec.zero = true;
    }
    auto count = [&]() -> int64_t {
      if (at >= text.size() || text[at] != '*') return number_in(text, at);
      ++at;
      auto given = arguments.next().as_integer();
      if (!given || std::abs(*given) > (int64_t{1} << 31)) fail("* wants int");
      return *given;
    };
    spec.width = count();
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (at < text.size() && text[at] == '.') {
      ++at;
      spec.precision = std::max<int64_t>(count(), 0);
    }
    while (at < text.size() && std::string_view("hlL").find(text[at]) != std::string_view::npos) ++at;
    if (at >= text.size()) fail("incomplete format");
    char type = text[at++];
    if (type == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("sradiuxXoceEfFgG").find(type) == std::string_view::npos) {
      fail(std::string("unsupported format character '") + type + "'");
    }
    if (spec.zero && spec.align != '<') {
      spec.fill = "0";
      spec.align = '=';
    }
    std::string piece = convert_percent(named ? *named : arguments.next(), type, spec, format.text()->markup);
    reserve(1, out.size() + piece.size());
    out += piece;
  }
  arguments.finish();
  return {std::move(out), format.text()->markup};
}

}  // namespace mneme::jinja
