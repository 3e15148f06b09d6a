// Statements of the template language. Expressions are in jinja_parser_expr.cc.
#include "text/jinja_parser.h"

#include <algorithm>

namespace mneme::jinja {
namespace {

constexpr int kDeepestNesting = 200;

std::unique_ptr<Stmt> make(Stmt::Kind kind, int line) { return std::unique_ptr<Stmt>(new Stmt{kind, line}); }

}  // namespace

const Token& Parser::peek(size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

Token Parser::next() {
  Token token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::skip_name(std::string_view name) {
  if (!peek().is_name(name)) return false;
  next();
  return true;
}

bool Parser::skip_op(std::string_view op) {
  if (!peek().is_op(op)) return false;
  next();
  return true;
}

Token Parser::expect(Token::Kind kind, std::string_view text, std::string_view what) {
  const Token& token = peek();
  if (token.kind != kind || (!text.empty() && token.text != text)) {
    fail_at(token.line, "expected " + std::string(what) + ", got " + describe(token));
  }
  return next();
}

void Parser::expect_op(std::string_view op) { expect(Token::Kind::op, op, "'" + std::string(op) + "'"); }
std::string Parser::expect_name() { return expect(Token::Kind::name, "", "a name").text; }
void Parser::expect_block_end() { expect(Token::Kind::block_end, "", "'%}'"); }

Parser::Deeper::Deeper(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ > kDeepestNesting) fail_at(parser_.peek().line, "nested too deeply");
}

Body Parser::parse_template() {
  Body body = statements({});
  if (peek().kind != Token::Kind::end) fail_at(peek().line, "unexpected " + describe(peek()));
  return body;
}

// Up to a block tag that begins with one of `ends`, which is left at its name.
Body Parser::statements(std::initializer_list<std::string_view> ends) {
  Deeper deeper(*this);
  Body body;
  for (;;) {
    const Token& token = peek();
    switch (token.kind) {
      case Token::Kind::data:
        body.push_back(make(Stmt::Kind::data, token.line));
        body.back()->text = std::make_shared<const Text>(next().text, true);
        break;
      case Token::Kind::variable_begin:
        body.push_back(make(Stmt::Kind::output, token.line));
        next();
        body.back()->expr = tuple({});
        expect(Token::Kind::variable_end, "", "'}}'");
        break;
      case Token::Kind::block_begin: {
        next();
        const Token& tag = peek();
        auto is_end = [&](std::string_view end) { return tag.is_name(end); };
        if (std::any_of(ends.begin(), ends.end(), is_end)) return body;
        if (auto statement = this->statement()) body.push_back(std::move(statement));
        expect_block_end();
        break;
      }
      default:
        if (ends.size() != 0) {
          fail_at(token.line, "unexpected end of template: expected '" + std::string(*ends.begin()) + "'");
        }
        return body;
    }
  }
}

Body Parser::block_body(std::string_view end) {
  expect_block_end();
  Body body = statements({end});
  next();
  return body;
}

std::unique_ptr<Stmt> Parser::statement() {
  const Token tag = peek();
  if (tag.kind != Token::Kind::name) fail_at(tag.line, "tag name expected, got " + describe(tag));
  using Kind = Stmt::Kind;
  next();
  if (tag.text == "for") return loop(tag.line);
  if (tag.text == "if") return conditional(tag.line);
  if (tag.text == "set") return set(tag.line);
  if (tag.text == "with") return with(tag.line);
  if (tag.text == "macro") return macro(tag.line);
  if (tag.text == "call") return call_block(tag.line);
  if (tag.text == "block") return block(tag.line);
  if (tag.text == "include" || tag.text == "import" || tag.text == "from" || tag.text == "extends")
    return load(tag);
  auto made = make(Kind::output, tag.line);
  if (tag.text == "print") {
    made->expr = printed(tag.line);
  } else if (tag.text == "break" || tag.text == "continue") {
    made->kind = tag.text == "break" ? Kind::break_loop : Kind::continue_loop;
  } else if (tag.text == "generation") {
    made->kind = Kind::generation;
    made->body = block_body("endgeneration");
  } else if (tag.text == "autoescape") {
    made->kind = Kind::autoescape;
    made->expr = expression();
    made->body = block_body("endautoescape");
  } else if (tag.text == "filter") {
    made->kind = Kind::filter_block;
    made->filter = filters(nullptr, true);
    made->body = block_body("endfilter");
  } else {
    fail_at(tag.line, "unknown tag '" + tag.text + "'");
  }
  return made;
}

std::unique_ptr<Stmt> Parser::loop(int line) {
  auto made = make(Stmt::Kind::loop, line);
  made->target = target({"in"}, false);
  expect(Token::Kind::name, "in", "'in'");
  made->expr = tuple({"recursive"}, false);
  if (skip_name("if")) made->test = expression();
  made->recursive = skip_name("recursive");
  expect_block_end();
  made->body = statements({"endfor", "else"});
  if (next().text == "else") made->other = block_body("endfor");
  return made;
}

std::unique_ptr<Stmt> Parser::conditional(int line) {
  auto made = make(Stmt::Kind::conditional, line);
  for (;;) {
    Branch branch;
    branch.test = tuple({}, false);
    expect_block_end();
    branch.body = statements({"elif", "else", "endif"});
    made->branches.push_back(std::move(branch));
    Token end = next();
    if (end.text == "elif") continue;
    if (end.text == "else") made->branches.push_back({nullptr, block_body("endif")});
    return made;
  }
}

std::unique_ptr<Stmt> Parser::set(int line) {
  auto made = make(Stmt::Kind::set, line);
  made->target = target({}, true);
  if (skip_op("=")) {
    made->expr = tuple({});
    return made;
  }
  made->kind = Stmt::Kind::set_block;
  made->filter = filters(nullptr, false);
  made->body = block_body("endset");
  return made;
}

std::unique_ptr<Stmt> Parser::with(int line) {
  auto made = make(Stmt::Kind::with, line);
  while (peek().kind != Token::Kind::block_end) {
    if (!made->targets.empty()) expect_op(",");
    made->targets.push_back(target({}, false));
    expect_op("=");
    made->values.push_back(expression());
  }
  made->body = block_body("endwith");
  return made;
}

std::vector<Parameter> Parser::signature() {
  std::vector<Parameter> parameters;
  expect_op("(");
  while (!peek().is_op(")")) {
    if (!parameters.empty()) expect_op(",");
    int line = peek().line;
    Parameter parameter{expect_name(), nullptr};
    if (skip_op("=")) {
      parameter.otherwise = expression();
    } else if (!parameters.empty() && parameters.back().otherwise) {
      fail_at(line, "non-default argument follows default argument");
    }
    for (const Parameter& other : parameters) {
      if (other.name == parameter.name) fail_at(line, "duplicate argument '" + other.name + "'");
    }
    parameters.push_back(std::move(parameter));
  }
  expect_op(")");
  return parameters;
}

std::unique_ptr<Stmt> Parser::macro(int line) {
  auto made = make(Stmt::Kind::macro, line);
  made->name = expect_name();
  made->parameters = signature();
  made->body = block_body("endmacro");
  return made;
}

std::unique_ptr<Stmt> Parser::call_block(int line) {
  auto made = make(Stmt::Kind::call, line);
  if (peek().is_op("(")) made->parameters = signature();
  made->expr = expression();
  if (made->expr->kind != Expr::Kind::call) fail_at(line, "expected call");
  made->body = block_body("endcall");
  return made;
}

std::unique_ptr<Stmt> Parser::block(int line) {
  auto made = make(Stmt::Kind::block, line);
  made->name = expect_name();
  made->scoped = skip_name("scoped");
  skip_name("required");
  if (peek().is_op("-")) fail_at(line, "a block's name may not contain '-'");
  if (!blocks_.insert(made->name).second) fail_at(line, "block '" + made->name + "' defined twice");
  made->body = block_body("endblock");
  skip_name(made->name);
  return made;
}

// The other templates these name cannot exist: a chat template stands alone. They only fail if they are
// reached.
std::unique_ptr<Stmt> Parser::load(const Token& tag) {
  auto made = make(Stmt::Kind::load, tag.line);
  made->name = tag.text;
  made->expr = expression();
  while (peek().kind == Token::Kind::name || peek().is_op(",")) next();
  return made;
}

ExprPtr Parser::target(std::initializer_list<std::string_view> ends, bool members) {
  int line = peek().line;
  ExprPtr made = simple_tuple(ends, members);
  assignable(*made, line);
  return made;
}

void Parser::assignable(const Expr& expr, int line) {
  if (expr.kind == Expr::Kind::tuple) {
    for (const ExprPtr& child : expr.children) assignable(*child, line);
  } else if (expr.kind == Expr::Kind::list) {
    for (const ExprPtr& child : expr.children) assignable(*child, line);
  } else if (expr.kind != Expr::Kind::name && expr.kind != Expr::Kind::member) {
    fail_at(line, "can't assign to this expression");
  }
}

Body parse(std::string_view source) {
  Body body = Parser(tokenize(source)).parse_template();
  check(body);
  return body;
}

}  // namespace mneme::jinja
