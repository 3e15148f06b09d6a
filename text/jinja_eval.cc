// Expressions.
#include "text/jinja_frames.h"
#include "text/jinja_objects.h"
#include "text/jinja_operators.h"

namespace mneme::jinja {

Value Interpreter::eval(const Expr& e) {
  Deeper deeper(*this);
  spend(0);
  line_ = e.line;
  switch (e.kind) {
    case Expr::Kind::constant:
      return e.value;
    case Expr::Kind::name:
    case Expr::Kind::member:
      return eval_name(e);
    case Expr::Kind::list:
    case Expr::Kind::tuple: {
      std::vector<Value> items;
      items.reserve(e.children.size());
      for (const ExprPtr& child : e.children) items.push_back(eval(*child));
      return e.kind == Expr::Kind::list ? Value::list(std::move(items)) : Value::tuple(std::move(items));
    }
    case Expr::Kind::dict:
      return eval_dict(e);
    case Expr::Kind::attribute: {
      Value object = eval(*e.children[0]);
      line_ = e.line;
      return attribute(object, e.name);
    }
    case Expr::Kind::item: {
      Value object = eval(*e.children[0]), key = eval(*e.children[1]);
      line_ = e.line;
      return item(object, key);
    }
    case Expr::Kind::slice:
      return eval_slice(e);
    case Expr::Kind::call:
      return eval_call(e, nullptr);
    case Expr::Kind::filter:
      return eval_filter(e);
    case Expr::Kind::test: {
      Value subject = eval(*e.children[0]);
      Arguments arguments = arguments_of(e);
      line_ = e.line;
      return call_test(e.name, subject, arguments);
    }
    case Expr::Kind::unary:
      return eval_unary(e);
    case Expr::Kind::binary:
      return eval_binary(e);
    case Expr::Kind::concat:
      return eval_concat(e);
    case Expr::Kind::compare:
      return eval_compare(e);
    case Expr::Kind::conditional:
      return eval_conditional(e);
  }
  return {};
}

Value Interpreter::eval_name(const Expr& e) {
  for (Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    if (const Value* found = scope->find_here(e.name)) return *found;
  }
  return Value::undefined("'" + e.name + "' is undefined");
}

Value Interpreter::eval_unary(const Expr& e) {
  Value operand = eval(*e.children[0]);
  line_ = e.line;
  if (e.name == "not") return !operand.truth();
  return e.name == "-" ? negate(operand) : positive(operand);
}

Value Interpreter::eval_binary(const Expr& e) {
  Value left = eval(*e.children[0]);
  if (e.name == "and") return left.truth() ? eval(*e.children[1]) : left;
  if (e.name == "or") return left.truth() ? left : eval(*e.children[1]);
  Value right = eval(*e.children[1]);
  line_ = e.line;
  if (e.name == "+") return add(left, right);
  if (e.name == "-") return subtract(left, right);
  if (e.name == "*") return multiply(left, right);
  if (e.name == "/") return divide(left, right);
  if (e.name == "//") return floor_divide(left, right);
  if (e.name == "%") return modulo(left, right);
  return power(left, right);
}

Value Interpreter::eval_concat(const Expr& e) {
  std::string text;
  for (const ExprPtr& child : e.children) {
    Value value = eval(*child);
    const bool safe = value.text() && value.text()->markup;
    text += escape_ && !safe ? escape_html(value.str()) : value.str();
    reserve(1, text.size() / 16);
  }
  line_ = e.line;
  return {std::move(text), escape_};
}

Value Interpreter::eval_compare(const Expr& e) {
  Value left = eval(*e.children[0]);
  for (size_t i = 0; i < e.names.size(); ++i) {
    Value right = eval(*e.children[i + 1]);
    line_ = e.line;
    const std::string& op = e.names[i];
    bool holds = op == "=="       ? equal(left, right)
                 : op == "!="     ? !equal(left, right)
                 : op == "in"     ? contains(right, left)
                 : op == "not in" ? !contains(right, left)
                                  : ordered(left, right, op);
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::eval_conditional(const Expr& e) {
  if (eval(*e.children[0]).truth()) return eval(*e.children[1]);
  if (e.children[2]) return eval(*e.children[2]);
  return Value::undefined("the inline if-expression on line " + std::to_string(e.line) +
                          " evaluated to false and no else section was defined.");
}

Value Interpreter::eval_dict(const Expr& e) {
  std::vector<Mapping::Entry> entries;
  for (size_t i = 0; i < e.children.size(); i += 2) {
    Value key = eval(*e.children[i]);
    entries.emplace_back(std::move(key), eval(*e.children[i + 1]));
  }
  line_ = e.line;
  return std::make_shared<const Mapping>(std::move(entries));
}

Value Interpreter::eval_slice(const Expr& e) {
  Value object = eval(*e.children[0]);
  std::optional<Value> bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (e.children[i + 1]) bounds[i] = eval(*e.children[i + 1]);
  }
  line_ = e.line;
  return slice(object, bounds[0], bounds[1], bounds[2]);
}

Arguments Interpreter::arguments_of(const Expr& e) {
  Arguments arguments;
  for (size_t i = 1; i < e.children.size(); ++i) arguments.positional.push_back(eval(*e.children[i]));
  auto add = [&](const std::string& name, Value value) {
    for (const auto& [other, unused] : arguments.named) {
      if (other == name) fail("got multiple values for keyword argument '" + name + "'");
    }
    arguments.named.emplace_back(name, std::move(value));
  };
  for (const Keyword& keyword : e.keywords) add(keyword.name, eval(*keyword.value));
  if (e.star) {
    for (Value& value : items_of(eval(*e.star))) arguments.positional.push_back(std::move(value));
  }
  if (e.stars) {
    Value more = eval(*e.stars);
    if (!more.mapping()) fail("argument after ** must be a mapping, not " + more.type_name());
    for (const auto& [key, value] : more.mapping()->entries()) {
      if (!key.text()) fail("keywords must be strings");
      add(key.text()->bytes, value);
    }
  }
  return arguments;
}

Value Interpreter::eval_call(const Expr& e, const Value* caller) {
  Value callee = eval(*e.children[0]);
  Arguments arguments = arguments_of(e);
  if (caller) arguments.named.emplace_back("caller", *caller);
  line_ = e.line;
  if (callee.is_undefined()) fail_undefined(callee);
  auto object = callee.object();
  if (!object) fail("'" + callee.type_name() + "' object is not callable");
  return object->call(std::move(arguments));
}

Value Interpreter::eval_filter(const Expr& e) {
  Value subject = e.children[0] ? eval(*e.children[0]) : *head_;
  Arguments arguments = arguments_of(e);
  line_ = e.line;
  return call_filter(e.name, subject, arguments);
}

// Applies the filters of a block to its text.
Value Interpreter::filtered(const ExprPtr& filter, Value subject) {
  const Value* before = head_;
  head_ = &subject;
  Value result = eval(*filter);
  head_ = before;
  return result;
}

}  // namespace mneme::jinja
