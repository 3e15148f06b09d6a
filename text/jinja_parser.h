// Recursive descent over the tokens, with the precedences of Jinja: they are not quite Python's (a filter
// binds tighter than a power, `~` stands between + and *).
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace mneme::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Body parse_template();

 private:
  using Names = std::initializer_list<std::string_view>;

  class Deeper {  // bounds the recursion, and so the stack
   public:
    explicit Deeper(Parser& parser);
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Parser& parser_;
  };

  const Token& peek(size_t ahead = 0) const;
  Token next();
  bool skip_name(std::string_view name);
  bool skip_op(std::string_view op);
  Token expect(Token::Kind kind, std::string_view text, std::string_view what);
  void expect_op(std::string_view op);
  std::string expect_name();
  void expect_block_end();

  Body statements(Names ends);
  Body block_body(std::string_view end);
  std::unique_ptr<Stmt> statement();
  std::unique_ptr<Stmt> loop(int line);
  std::unique_ptr<Stmt> conditional(int line);
  std::unique_ptr<Stmt> set(int line);
  std::unique_ptr<Stmt> with(int line);
  std::unique_ptr<Stmt> macro(int line);
  std::unique_ptr<Stmt> call_block(int line);
  std::unique_ptr<Stmt> block(int line);
  std::unique_ptr<Stmt> load(const Token& tag);
  std::vector<Parameter> signature();
  ExprPtr target(Names ends, bool members);
  static void assignable(const Expr& expr, int line);

  ExprPtr expression(bool conditional = true);
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr printed(int line);
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters = true);
  ExprPtr primary(bool members = false);
  ExprPtr postfix(ExprPtr expr);
  ExprPtr subscript(ExprPtr expr);
  ExprPtr subscribed(ExprPtr object, bool* is_slice);
  ExprPtr postfix_filters(ExprPtr expr);
  ExprPtr filters(ExprPtr subject, bool at_name);
  ExprPtr test(ExprPtr subject);
  ExprPtr call(ExprPtr callee);
  void arguments(Expr& call);
  ExprPtr list();
  ExprPtr dict();
  ExprPtr tuple(Names ends, bool conditional = true, bool parentheses = false);
  ExprPtr simple_tuple(Names ends, bool members);
  bool tuple_end(Names ends) const;
  ExprPtr binary(std::string op, ExprPtr left, ExprPtr right, int line);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  std::set<std::string> blocks_;
};

}  // namespace mneme::jinja
