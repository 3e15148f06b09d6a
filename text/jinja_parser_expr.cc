// Expressions of the template language.
#include <algorithm>

#include "text/jinja_parser.h"

namespace mneme::jinja {
namespace {

using Kind = Expr::Kind;

ExprPtr make(Kind kind, int line) { return ExprPtr(new Expr{kind, line}); }

// Trees are bounded in depth: walking and freeing them recurses.
ExprPtr sealed(ExprPtr expr) {
  constexpr int kDeepest = 400;
  auto count = [&](const ExprPtr& child) {
    if (child) expr->depth = std::max(expr->depth, child->depth + 1);
  };
  for (const ExprPtr& child : expr->children) count(child);
  for (const Keyword& keyword : expr->keywords) count(keyword.value);
  count(expr->star);
  count(expr->stars);
  if (expr->depth > kDeepest) fail_at(expr->line, "an expression nested too deeply");
  return expr;
}

ExprPtr constant(Value value, int line) {
  ExprPtr expr = make(Kind::constant, line);
  expr->value = std::move(value);
  return expr;
}

template <class... Children>
ExprPtr node(Kind kind, int line, std::string name, Children... children) {
  ExprPtr expr = make(kind, line);
  expr->name = std::move(name);
  (expr->children.push_back(std::move(children)), ...);
  return sealed(std::move(expr));
}

}  // namespace

ExprPtr Parser::binary(std::string op, ExprPtr left, ExprPtr right, int line) {
  return node(Kind::binary, line, std::move(op), std::move(left), std::move(right));
}

ExprPtr Parser::expression(bool conditional) {
  Deeper deeper(*this);
  if (!conditional) return disjunction();
  int line = peek().line;
  ExprPtr value = disjunction();
  while (skip_name("if")) {
    ExprPtr test = disjunction(), otherwise;
    if (skip_name("else")) otherwise = expression();
    value = node(Kind::conditional, line, "", std::move(test), std::move(value), std::move(otherwise));
    line = peek().line;
  }
  return value;
}

ExprPtr Parser::disjunction() {
  ExprPtr left = conjunction();
  for (int line = peek().line; skip_name("or"); line = peek().line) {
    left = binary("or", std::move(left), conjunction(), line);
  }
  return left;
}

ExprPtr Parser::conjunction() {
  ExprPtr left = negation();
  for (int line = peek().line; skip_name("and"); line = peek().line) {
    left = binary("and", std::move(left), negation(), line);
  }
  return left;
}

ExprPtr Parser::negation() {
  if (!peek().is_name("not")) return comparison();
  Deeper deeper(*this);
  int line = next().line;
  return node(Kind::unary, line, "not", negation());
}

ExprPtr Parser::comparison() {
  int line = peek().line;
  ExprPtr first = sum();
  ExprPtr chain = make(Kind::compare, line);
  for (;;) {
    const Token& token = peek();
    static constexpr std::string_view kOps[] = {"==", "!=", "<", "<=", ">", ">="};
    if (token.kind == Token::Kind::op &&
        std::find(std::begin(kOps), std::end(kOps), token.text) != std::end(kOps)) {
      chain->names.push_back(next().text);
    } else if (skip_name("in")) {
      chain->names.emplace_back("in");
    } else if (token.is_name("not") && peek(1).is_name("in")) {
      next();
      next();
      chain->names.emplace_back("not in");
    } else {
      break;
    }
    if (chain->children.empty()) chain->children.push_back(std::move(first));
    chain->children.push_back(sum());
  }
  return chain->children.empty() ? std::move(first) : sealed(std::move(chain));
}

ExprPtr Parser::sum() {
  ExprPtr left = concatenation();
  while (peek().is_op("+") || peek().is_op("-")) {
    Token op = next();
    left = binary(op.text, std::move(left), concatenation(), op.line);
  }
  return left;
}

ExprPtr Parser::concatenation() {
  int line = peek().line;
  ExprPtr first = product();
  if (!peek().is_op("~")) return first;
  ExprPtr all = node(Kind::concat, line, "", std::move(first));
  while (skip_op("~")) all->children.push_back(product());
  return sealed(std::move(all));
}

// The parts of a `print`, one after the other.
ExprPtr Parser::printed(int line) {
  ExprPtr all = make(Kind::concat, line);
  do {
    all->children.push_back(expression());
  } while (skip_op(","));
  return sealed(std::move(all));
}

ExprPtr Parser::product() {
  ExprPtr left = power();
  while (peek().is_op("*") || peek().is_op("/") || peek().is_op("//") || peek().is_op("%")) {
    Token op = next();
    left = binary(op.text, std::move(left), power(), op.line);
  }
  return left;
}

ExprPtr Parser::power() {
  ExprPtr left = unary();
  while (peek().is_op("**")) {
    int line = next().line;
    left = binary("**", std::move(left), unary(), line);
  }
  return left;
}

ExprPtr Parser::unary(bool with_filters) {
  Deeper deeper(*this);
  ExprPtr made;
  if (peek().is_op("-") || peek().is_op("+")) {
    Token op = next();
    made = node(Kind::unary, op.line, op.text, unary(false));
  } else {
    made = primary();
  }
  made = postfix(std::move(made));
  return with_filters ? postfix_filters(std::move(made)) : std::move(made);
}

ExprPtr Parser::primary(bool members) {
  const Token token = peek();
  switch (token.kind) {
    case Token::Kind::name: {
      next();
      if (token.text == "true" || token.text == "True") return constant(true, token.line);
      if (token.text == "false" || token.text == "False") return constant(false, token.line);
      if (token.text == "none" || token.text == "None") return constant({}, token.line);
      ExprPtr name = node(Kind::name, token.line, token.text);
      if (members && skip_op(".")) {
        name->kind = Kind::member;
        name->names.push_back(expect_name());
      }
      return name;
    }
    case Token::Kind::text: {
      std::string text;
      while (peek().kind == Token::Kind::text) text += next().text;
      return constant(std::move(text), token.line);
    }
    case Token::Kind::integer:
    case Token::Kind::real:
      return constant(next().number, token.line);
    default:
      break;
  }
  if (token.is_op("[")) return list();
  if (token.is_op("{")) return dict();
  if (!skip_op("(")) fail_at(token.line, "unexpected " + describe(token));
  ExprPtr inside = tuple({}, true, true);
  expect_op(")");
  return inside;
}

bool Parser::tuple_end(Names ends) const {
  const Token& token = peek();
  if (token.kind == Token::Kind::variable_end || token.kind == Token::Kind::block_end || token.is_op(")"))
    return true;
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return token.is_name(end); });
}

ExprPtr Parser::tuple(Names ends, bool conditional, bool parentheses) {
  ExprPtr all = make(Kind::tuple, peek().line);
  bool comma = false;
  while (!tuple_end(ends)) {
    all->children.push_back(expression(conditional));
    if (!skip_op(",")) break;
    comma = true;
  }
  if (!comma && !all->children.empty()) return std::move(all->children[0]);
  if (!comma && !parentheses) fail_at(all->line, "expected an expression, got " + describe(peek()));
  return sealed(std::move(all));
}

ExprPtr Parser::simple_tuple(Names ends, bool members) {
  Deeper deeper(*this);
  ExprPtr all = make(Kind::tuple, peek().line);
  bool comma = false;
  while (!tuple_end(ends)) {
    all->children.push_back(primary(members));
    if (!skip_op(",")) break;
    comma = true;
  }
  if (!comma && !all->children.empty()) return std::move(all->children[0]);
  if (!comma) fail_at(all->line, "expected an expression, got " + describe(peek()));
  return sealed(std::move(all));
}

ExprPtr Parser::list() {
  ExprPtr all = make(Kind::list, next().line);
  while (!peek().is_op("]")) {
    if (!all->children.empty()) expect_op(",");
    if (peek().is_op("]")) break;
    all->children.push_back(expression());
  }
  expect_op("]");
  return sealed(std::move(all));
}

ExprPtr Parser::dict() {
  ExprPtr all = make(Kind::dict, next().line);
  while (!peek().is_op("}")) {
    if (!all->children.empty()) expect_op(",");
    if (peek().is_op("}")) break;
    all->children.push_back(expression());
    expect_op(":");
    all->children.push_back(expression());
  }
  expect_op("}");
  return sealed(std::move(all));
}

ExprPtr Parser::postfix(ExprPtr expr) {
  for (;;) {
    if (peek().is_op(".") || peek().is_op("[")) {
      expr = subscript(std::move(expr));
    } else if (peek().is_op("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::postfix_filters(ExprPtr expr) {
  for (;;) {
    if (peek().is_op("|")) {
      expr = filters(std::move(expr), false);
    } else if (peek().is_name("is")) {
      expr = test(std::move(expr));
    } else if (peek().is_op("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::subscript(ExprPtr expr) {
  Token open = next();
  if (open.text == ".") {
    Token name = next();
    if (name.kind == Token::Kind::name) return node(Kind::attribute, open.line, name.text, std::move(expr));
    if (name.kind != Token::Kind::integer)
      fail_at(name.line, "expected name or number, got " + describe(name));
    return node(Kind::item, open.line, "", std::move(expr), constant(name.number, name.line));
  }
  bool is_slice = false;
  ExprPtr made = subscribed(std::move(expr), &is_slice);
  if (peek().is_op(",")) {
    if (is_slice) fail_at(open.line, "a slice among several subscripts");
    ExprPtr keys = make(Kind::tuple, open.line);
    keys->children.push_back(std::move(made->children[1]));
    while (skip_op(",") && !peek().is_op("]")) keys->children.push_back(expression());
    made = node(Kind::item, open.line, "", std::move(made->children[0]), sealed(std::move(keys)));
  }
  expect_op("]");
  return made;
}

ExprPtr Parser::subscribed(ExprPtr object, bool* is_slice) {
  int line = peek().line;
  ExprPtr first;
  if (!peek().is_op(":")) {
    first = expression();
    if (!peek().is_op(":")) return node(Kind::item, line, "", std::move(object), std::move(first));
  }
  *is_slice = true;
  auto bound = [&]() -> ExprPtr {
    if (!skip_op(":") || peek().is_op(":") || peek().is_op("]") || peek().is_op(",")) return nullptr;
    return expression();
  };
  ExprPtr stop = bound(), step = bound();
  return node(Kind::slice, line, "", std::move(object), std::move(first), std::move(stop), std::move(step));
}

ExprPtr Parser::filters(ExprPtr subject, bool at_name) {
  while (at_name || skip_op("|")) {
    at_name = false;
    int line = peek().line;
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    ExprPtr filter = make(Kind::filter, line);
    filter->name = std::move(name);
    filter->children.push_back(std::move(subject));
    if (peek().is_op("(")) arguments(*filter);
    subject = sealed(std::move(filter));
  }
  return subject;
}

ExprPtr Parser::test(ExprPtr subject) {
  int line = next().line;
  bool negated = skip_name("not");
  ExprPtr made = make(Kind::test, line);
  made->name = expect_name();
  while (skip_op(".")) made->name += "." + expect_name();
  made->children.push_back(std::move(subject));
  const Token& token = peek();
  bool operand = token.kind == Token::Kind::name || token.kind == Token::Kind::text ||
                 token.kind == Token::Kind::integer || token.kind == Token::Kind::real || token.is_op("[") ||
                 token.is_op("{");
  if (token.is_op("(")) {
    arguments(*made);
  } else if (operand && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail_at(line, "You cannot chain multiple tests with is");
    made->children.push_back(postfix(primary()));
  }
  made = sealed(std::move(made));
  return negated ? node(Kind::unary, line, "not", std::move(made)) : std::move(made);
}

ExprPtr Parser::call(ExprPtr callee) {
  ExprPtr made = node(Kind::call, peek().line, "", std::move(callee));
  arguments(*made);
  return sealed(std::move(made));
}

void Parser::arguments(Expr& call) {
  int line = peek().line;
  auto ensure = [&](bool fine) {
    if (!fine) fail_at(line, "invalid syntax for function call expression");
  };
  expect_op("(");
  for (bool first = true; !peek().is_op(")"); first = false) {
    if (!first) {
      expect_op(",");
      if (peek().is_op(")")) break;
    }
    if (skip_op("*")) {
      ensure(!call.star && !call.stars);
      call.star = expression();
    } else if (skip_op("**")) {
      ensure(!call.stars);
      call.stars = expression();
    } else if (peek().kind == Token::Kind::name && peek(1).is_op("=")) {
      ensure(!call.stars);
      std::string name = next().text;
      next();
      call.keywords.push_back({std::move(name), expression()});
    } else {
      ensure(!call.star && !call.stars && call.keywords.empty());
      call.children.push_back(expression());
    }
  }
  expect_op(")");
}

}  // namespace mneme::jinja
