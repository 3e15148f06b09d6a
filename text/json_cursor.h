// A pull reader over JSON text for the two big parts of tokenizer.json, the vocabulary and the merges: no
// tree is built and a string without escapes is a view into the text. Small parts are handed to
// nlohmann::json by their span. It checks what it reads, not what it skips beyond the balance of brackets and
// strings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mneme {

class JsonCursor {
 public:
  JsonCursor(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  // The next character that is no white space, or '\0' at the end.
  char peek();
  void expect(char c);
  bool accept(char c);
  // Between the elements of an array or object: false after the closing bracket, which is consumed. `first`
  // is true before the first element and set to false.
  bool next_element(char closing, bool& first);
  std::string_view key();  // a string and its colon; valid until the next call
  std::string_view string();
  double number();
  int64_t integer();
  std::string_view value_span();  // skips one value and returns its text
  void expect_end();
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::string_view unescape(size_t start);
  void skip_string();

  std::string_view text_;
  std::string where_;
  size_t at_ = 0;
  std::string scratch_;
};

}  // namespace mneme
