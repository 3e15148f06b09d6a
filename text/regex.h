// Regular expressions of tokenizer files. They are written for Oniguruma's Ruby syntax (Hugging Face) and run
// on PCRE2 with JIT: the pattern is rewritten where the two differ (\s, \w, \d, \h, nested and intersected
// character classes, (?m), {n,m}+ and {,m}). `^` and `$` match at every line, as in Ruby.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace mneme {

class TextRegex {
 public:
  // `where` names the file in errors.
  TextRegex(std::string_view pattern, const std::string& where);
  static TextRegex literal(std::string_view text, const std::string& where);

  // Matches from left to right in well-formed text. An empty match is reported unless it stands at the end of
  // the match before it.
  struct Match {
    size_t begin = 0, end = 0;
  };
  class Iterator {
   public:
    Iterator(const TextRegex& regex, std::string_view text) : regex_(regex), text_(text) {}
    bool next(Match& match);

   private:
    const TextRegex& regex_;
    std::string_view text_;
    size_t from_ = 0, last_end_ = static_cast<size_t>(-1);
  };

 private:
  bool search(std::string_view text, size_t from, Match& match) const;
  std::shared_ptr<void> code_;  // pcre2_code
  std::string where_;
};

std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where);

}  // namespace mneme
