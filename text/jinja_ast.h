// The syntax tree of a template. Plain data: the parser makes it, the interpreter walks it and never changes
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace mneme::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Keyword {
  std::string name;
  ExprPtr value;
};

struct Expr {
  enum class Kind {
    constant,     // value
    name,         // name
    list,         // children
    tuple,        // children
    dict,         // children: key, value, key, value, ...
    attribute,    // children[0].name
    item,         // children[0][children[1]]
    slice,        // children[0][children[1]:children[2]:children[3]], absent bounds are null
    call,         // children[0](the other children, keywords, *star, **stars)
    filter,       // children[0] | name(...); children[0] is null at the head of a filter block
    test,         // children[0] is name(...)
    unary,        // name: - + not
    binary,       // name: + - * / // % ** and or
    concat,       // children joined by ~
    compare,      // children[0] names[0] children[1] names[1] ...
    conditional,  // children: test, value, otherwise (may be null)
    member,       // a target only: name.names[0] of a namespace
  };
  Kind kind;
  int line;
  std::string name = {};
  Value value = {};
  std::vector<ExprPtr> children = {};
  std::vector<std::string> names = {};
  std::vector<Keyword> keywords = {};
  ExprPtr star = {}, stars = {};
  int depth = 1;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Parameter {
  std::string name;
  ExprPtr otherwise;  // null: none
};

struct Branch {
  ExprPtr test;  // null: else
  Body body;
};

struct Stmt {
  enum class Kind {
    data,          // text
    output,        // expr
    conditional,   // branches
    loop,          // target, expr, test, body, other; recursive
    set,           // target, expr
    set_block,     // target, filter (may be null), body
    with,          // targets, values, body
    macro,         // name, parameters, body
    call,          // expr (the call), parameters, body
    filter_block,  // filter, body
    block,         // name, body; scoped
    autoescape,    // expr, body
    generation,    // body
    break_loop,
    continue_loop,
    load,  // include, import, from, extends: parsed, and fails when reached
  };
  Kind kind;
  int line;
  std::string name = {};
  std::shared_ptr<const Text> text = {};
  ExprPtr expr = {}, target = {}, test = {}, filter = {};
  std::vector<ExprPtr> targets = {}, values = {};
  std::vector<Parameter> parameters = {};
  std::vector<Branch> branches = {};
  Body body = {}, other = {};
  bool recursive = false, scoped = false;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;  // of macros and call blocks
};

// Parses, then checks what can be known before running: filters and tests that do not exist outside of
// branches, loop controls outside of loops. Fails with "line N: ...".
Body parse(std::string_view source);
void check(Body& body);

}  // namespace mneme::jinja
