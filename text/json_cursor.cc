#include "text/json_cursor.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {

void JsonCursor::fail(const std::string& what) const {
  throw Error(Kind::input, where_ + ": " + what + " at byte " + std::to_string(at_),
              "the file is damaged or not what its name says; fetch it again");
}

char JsonCursor::peek() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
    ++at_;
  }
  return '\0';
}

void JsonCursor::expect(char c) {
  const char found = peek();
  if (found != c || at_ == text_.size()) {
    fail(std::string("expected '") + c + "', found " +
         (at_ == text_.size() ? "the end" : std::string("'") + found + "'"));
  }
  ++at_;
}

bool JsonCursor::accept(char c) {
  if (peek() != c || at_ == text_.size()) return false;
  ++at_;
  return true;
}

bool JsonCursor::next_element(char closing, bool& first) {
  if (accept(closing)) return false;
  if (!first) expect(',');
  first = false;
  return true;
}

std::string_view JsonCursor::key() {
  const std::string_view out = string();
  expect(':');
  return out;
}

std::string_view JsonCursor::string() {
  expect('"');
  const size_t start = at_;
  for (; at_ < text_.size(); ++at_) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') return text_.substr(start, at_++ - start);
    if (c == '\\') return unescape(start);
    if (c < 0x20) fail("a control character inside a string");
  }
  fail("a string without end");
}

std::string_view JsonCursor::unescape(size_t start) {
  scratch_.assign(text_, start, at_ - start);
  const auto hex4 = [this]() -> char32_t {
    uint32_t code = 0;
    if (text_.size() - at_ < 4) fail("a string without end");
    const char* p = text_.data() + at_;
    const auto [end, error] = std::from_chars(p, p + 4, code, 16);
    if (error != std::errc() || end != p + 4) fail("a bad \\u escape");
    at_ += 4;
    return code;
  };
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '"') return scratch_;
    if (static_cast<unsigned char>(c) < 0x20) fail("a control character inside a string");
    if (c != '\\') {
      scratch_ += c;
      continue;
    }
    if (at_ == text_.size()) break;
    const char kind = text_[at_++];
    static constexpr std::string_view kShort = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
    if (const size_t i = kShort.find(kind); i != std::string_view::npos) {
      scratch_ += kMeaning[i];
    } else if (kind == 'u') {
      char32_t code = hex4();
      if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
        at_ += 2;
        const char32_t low = hex4();
        if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      if (code >= 0xD800 && code < 0xE000) fail("half of a surrogate pair");
      append_utf8(scratch_, code);
    } else {
      fail(std::string("a bad escape '\\") + kind + "'");
    }
  }
  fail("a string without end");
}

double JsonCursor::number() {
  peek();
  double out = 0;
  const char* p = text_.data() + at_;
  const auto [end, error] = std::from_chars(p, text_.data() + text_.size(), out);
  if (error != std::errc() || !std::isfinite(out)) fail("expected a number");
  at_ += static_cast<size_t>(end - p);
  return out;
}

int64_t JsonCursor::integer() {
  peek();
  int64_t out = 0;
  const char* p = text_.data() + at_;
  const auto [end, error] = std::from_chars(p, text_.data() + text_.size(), out);
  if (error != std::errc()) fail("expected an integer");
  at_ += static_cast<size_t>(end - p);
  return out;
}

void JsonCursor::skip_string() {
  for (++at_; at_ < text_.size(); ++at_) {
    if (text_[at_] == '\\') {
      ++at_;
    } else if (text_[at_] == '"') {
      ++at_;
      return;
    }
  }
  at_ = text_.size();
  fail("a string without end");
}

std::string_view JsonCursor::value_span() {
  peek();
  const size_t start = at_;
  uint64_t depth = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      skip_string();
      if (depth == 0) break;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']' || (c == ',' && depth == 0)) {
      if (depth == 0) break;  // a bare word ends before the bracket of its parent
      --depth;
      if (depth == 0) {
        ++at_;
        break;
      }
    }
    ++at_;
  }
  if (depth != 0) fail("brackets that do not match");
  if (at_ == start) fail("expected a value");
  return text_.substr(start, at_ - start);
}

void JsonCursor::expect_end() {
  if (peek() != '\0' || at_ != text_.size()) fail("text after the end of the JSON value");
}

}  // namespace mneme
