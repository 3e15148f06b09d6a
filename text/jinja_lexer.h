// Cuts a template into tokens. White space is settled here: `-` and `+` at the delimiters, trim_blocks (the
// newline after a block goes) and lstrip_blocks (blanks before a block on its line go), both on, as
// transformers has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace mneme::jinja {

struct Token {
  enum class Kind {
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    text,
    integer,
    real,
    op,
    end
  };
  Kind kind;
  std::string text;  // of data, names, texts (unescaped) and operators
  int line;
  Value number = {};

  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
  bool is_name(std::string_view t) const { return is(Kind::name, t); }
  bool is_op(std::string_view t) const { return is(Kind::op, t); }
};

// Fails with the line in the message: "line 3: ...".
std::vector<Token> tokenize(std::string_view source);

std::string describe(const Token& token);
[[noreturn]] void fail_at(int line, const std::string& message);

}  // namespace mneme::jinja
