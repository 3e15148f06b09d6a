#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "text/jinja_strings.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

// \r\n and \r become \n, and the one newline at the very end goes.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

uint32_t hex_value(std::string_view digits, int line) {
  uint32_t value = 0;
  for (char c : digits) {
    int digit = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
    if (digit < 0) fail_at(line, "a broken escape in a string");
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  return value;
}

std::string unescape(std::string_view text, int line) {
  std::string out;
  uint32_t high = 0;  // of a surrogate pair written as two escapes
  auto add = [&](uint32_t point) {
    if (high) {
      if (point < 0xDC00 || point > 0xDFFF) fail_at(line, "half a surrogate pair in a string");
      point = 0x10000 + ((high - 0xD800) << 10) + (point - 0xDC00);
      high = 0;
    } else if (point >= 0xD800 && point < 0xDC00) {
      high = point;
      return;
    }
    if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      fail_at(line, "no such code point in a string");
    append_point(out, point);
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = i + 1 < text.size() ? text[i + 1] : 0;
    if (high && (text[i] != '\\' || c != 'u')) fail_at(line, "half a surrogate pair in a string");
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    ++i;
    static constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeans = "\\'\"\a\b\f\n\r\t\v";
    if (size_t at = kLetters.find(c); at != std::string_view::npos) {
      out += kMeans[at];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      if (i + count >= text.size()) fail_at(line, "a broken escape in a string");
      add(hex_value(text.substr(i + 1, count), line));
      i += count;
    } else if (c >= '0' && c <= '7') {
      uint32_t value = 0;
      size_t stop = std::min(i + 3, text.size());
      for (; i < stop && text[i] >= '0' && text[i] <= '7'; ++i)
        value = value * 8 + static_cast<uint32_t>(text[i] - '0');
      --i;
      add(value);
    } else if (c != '\n') {
      out += '\\';
      out += c;
    }
  }
  if (high) fail_at(line, "half a surrogate pair in a string");
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) outside();
    push(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  bool starts(std::string_view what, size_t from) const {
    return source_.compare(from, what.size(), what) == 0;
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  size_t skip_space(size_t from) const {
    size_t size = 0;
    while (from < source_.size() && is_space(point_at(source_, from, &size))) from += size;
    return from;
  }

  // Text up to the next delimiter, then what the delimiter opens.
  void outside() {
    size_t open = at_;
    for (;; ++open) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        data(source_.size(), '+', false);
        advance(source_.size());
        return;
      }
      if (std::string_view("{%#").find(source_[open + 1]) != std::string_view::npos) break;
    }
    const char kind = source_[open + 1];
    char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    data(open, sign, kind != '{');
    advance(open);
    size_t inside = open + (sign ? 3 : 2);
    if (kind == '#') {
      comment(inside);
    } else if (kind == '%' && raw(inside)) {
      return;
    } else {
      push(kind == '%' ? Token::Kind::block_begin : Token::Kind::variable_begin, "");
      advance(inside);
      expression(kind == '%');
    }
  }

  // Emits the text up to `end`, stripped as the delimiter there asks for.
  void data(size_t end, char sign, bool block) {
    std::string text = source_.substr(at_, end - at_);
    if (sign == '-') {
      text = strip(text, std::nullopt, "r");
    } else if (sign != '+' && block) {
      size_t begin = text.rfind('\n') + 1;
      if (begin > 0 || line_starting_) {
        std::string_view blank = std::string_view(text).substr(begin);
        if (strip(blank, std::nullopt, "r").empty()) text.resize(begin);
      }
    }
    if (!text.empty()) push(Token::Kind::data, std::move(text));
  }

  // The end of a block, comment or raw begin at `from`, or npos: "-%}" eats white space, "%}" one newline.
  size_t closing(std::string_view mark, size_t from, bool plus, bool newline) const {
    if (source_.compare(from, 1, "-") == 0 && starts(mark, from + 1))
      return skip_space(from + 1 + mark.size());
    if (plus && source_.compare(from, 1, "+") == 0 && starts(mark, from + 1)) return from + 1 + mark.size();
    if (!starts(mark, from)) return std::string::npos;
    from += mark.size();
    return newline && from < source_.size() && source_[from] == '\n' ? from + 1 : from;
  }

  void finish(size_t end) {
    advance(end);
    line_starting_ = end > 0 && source_[end - 1] == '\n';
  }

  void comment(size_t from) {
    for (size_t at = from; at < source_.size(); ++at) {
      at = source_.find_first_of("-+#", at);
      if (at == std::string::npos) break;
      size_t end = closing("#}", at, true, true);
      if (end != std::string::npos) return finish(end);
    }
    fail_at(line_, "Missing end of comment tag");
  }

  bool raw(size_t from) {
    size_t at = skip_space(from);
    if (!starts("raw", at)) return false;
    size_t begin = closing("%}", skip_space(at + 3), false, false);
    if (begin == std::string::npos) return false;
    finish(begin);
    for (size_t open = begin; (open = source_.find("{%", open)) != std::string::npos; ++open) {
      char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
      if (sign != '-' && sign != '+') sign = '\0';
      size_t word = skip_space(open + (sign ? 3 : 2));
      if (!starts("endraw", word)) continue;
      size_t end = closing("%}", skip_space(word + 6), true, true);
      if (end == std::string::npos) continue;
      data(open, sign, true);
      finish(end);
      return true;
    }
    fail_at(line_, "Missing end of raw directive");
  }

  // Tokens up to the end of a block or variable, which closing brackets hide.
  void expression(bool block) {
    std::string brackets;
    for (;;) {
      if (at_ >= source_.size()) {
        if (!brackets.empty())
          fail_at(line_, std::string("unexpected end of template, expected '") + brackets.back() + "'");
        return;
      }
      if (brackets.empty()) {
        size_t end = block ? closing("%}", at_, true, true) : closing("}}", at_, false, false);
        if (end != std::string::npos) {
          push(block ? Token::Kind::block_end : Token::Kind::variable_end, "");
          return finish(end);
        }
      }
      size_t space = skip_space(at_);
      if (space != at_) {
        advance(space);
      } else if (!number() && !name() && !quoted()) {
        op(brackets);
      }
    }
  }

  // Digits with single underscores between them.
  size_t digits(size_t from, std::string_view allowed = "0123456789") const {
    size_t at = from;
    auto digit = [&](size_t i) {
      return i < source_.size() && allowed.find(source_[i]) != std::string_view::npos;
    };
    while (digit(at) || (at > from && source_.compare(at, 1, "_") == 0 && digit(at + 1))) ++at;
    return at;
  }

  bool number() {
    size_t whole = digits(at_);
    if (whole == at_) return false;
    size_t end = whole;
    if (at_ == 0 || source_[at_ - 1] != '.') {
      size_t fraction = source_.compare(whole, 1, ".") == 0 ? digits(whole + 1) : whole + 1;
      if (fraction > whole + 1) end = fraction;
      if (end < source_.size() && (source_[end] | 32) == 'e') {
        size_t power =
            end + 1 + (end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-'));
        if (size_t stop = digits(power); stop > power) end = stop;
      }
    }
    Token token{Token::Kind::integer, "", line_};
    if (end > whole) {
      token.kind = Token::Kind::real;
      token.number = *parse_real(source_.substr(at_, end - at_));
    } else {
      end = integer_end(whole);
      token.number = *parse_integer(source_.substr(at_, end - at_), 0);
    }
    tokens_.push_back(std::move(token));
    advance(end);
    return true;
  }

  size_t integer_end(size_t decimal) const {
    if (source_[at_] != '0') return decimal;
    static constexpr std::array<std::pair<char, std::string_view>, 3> kBases = {
        {{'b', "01"}, {'o', "01234567"}, {'x', "0123456789abcdefABCDEF"}}};
    for (const auto& [letter, allowed] : kBases) {
      if ((peek(1) | 32) != letter) continue;
      size_t begin = at_ + 2 + (peek(2) == '_');
      if (size_t end = digits(begin, allowed); end > begin) return end;
    }
    size_t zeros = digits(at_, "0");  // "012" is 0 and then 12, as the original has it
    return zeros;
  }

  bool name() {
    size_t end = at_, size = 0;
    while (end < source_.size() && is_word(point_at(source_, end, &size))) end += size;
    if (end == at_) return false;
    if (is_numeric(point_at(source_, at_, &size))) fail_at(line_, "Invalid character in identifier");
    push(Token::Kind::name, source_.substr(at_, end - at_));
    advance(end);
    return true;
  }

  bool quoted() {
    const char mark = peek();
    if (mark != '\'' && mark != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != mark) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
      fail_at(line_, std::string("unexpected char ") + mark + ": a string without end");
    push(Token::Kind::text, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1), line_));
    advance(end + 1);
    return true;
  }

  void op(std::string& brackets) {
    static constexpr std::array<std::string_view, 26> kOps = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  "<",  ">", "=", ".", ":", "|", ",", ";"};
    for (std::string_view text : kOps) {
      if (!starts(text, at_)) continue;
      if (text == "(" || text == "[" || text == "{") brackets += text == "(" ? ')' : text == "[" ? ']' : '}';
      if (text == ")" || text == "]" || text == "}") {
        if (brackets.empty()) fail_at(line_, "unexpected '" + std::string(text) + "'");
        if (brackets.back() != text[0]) {
          fail_at(line_, "unexpected '" + std::string(text) + "', expected '" + brackets.back() + "'");
        }
        brackets.pop_back();
      }
      push(Token::Kind::op, std::string(text));
      advance(at_ + text.size());
      return;
    }
    size_t size = 0;
    point_at(source_, at_, &size);
    fail_at(line_, "unexpected character '" + source_.substr(at_, size) + "'");
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

void fail_at(int line, const std::string& message) { fail("line " + std::to_string(line) + ": " + message); }

std::vector<Token> tokenize(std::string_view source) {
  if (!valid_utf8(source)) fail_at(1, "the template is not valid UTF-8");
  return Lexer(normalized(source)).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::data:
      return "template data";
    case Token::Kind::variable_begin:
      return "'{{'";
    case Token::Kind::variable_end:
      return "'}}'";
    case Token::Kind::block_begin:
      return "'{%'";
    case Token::Kind::block_end:
      return "'%}'";
    case Token::Kind::end:
      return "end of template";
    case Token::Kind::integer:
    case Token::Kind::real:
      return token.number.repr();
    default:
      return "'" + token.text + "'";
  }
}

}  // namespace mneme::jinja
