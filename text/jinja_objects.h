// What the interpreter hands to templates beside plain values: namespaces, the `loop` of a loop, macros, and
// functions that need the rendering.
#pragma once

#include <functional>

#include "text/jinja_interpreter.h"

namespace mneme::jinja {

// The only thing a template can change. Its content does not count into depths: it may hold itself, and the
// interpreter takes it apart at the end.
class Namespace : public Object {
 public:
  std::string type_name() const override { return "Namespace"; }
  std::string repr() const override;
  std::optional<Value> attribute(const std::string& name) override;
  int depth() const override { return 0; }
  void set(const std::string& name, Value value);
  void clear() { names_.clear(); }

 private:
  std::vector<std::pair<std::string, Value>> names_;
  mutable int printing_ = 0;
};

class Macro : public Object {
 public:
  Macro(Interpreter& interpreter, const Stmt& statement, std::string name, ScopePtr scope)
      : interpreter_(interpreter), statement_(statement), name_(std::move(name)), scope_(std::move(scope)) {}
  std::string type_name() const override { return "Macro"; }
  std::string repr() const override { return "<Macro " + quote(name_) + ">"; }
  bool callable() const override { return true; }
  int depth() const override { return 0; }
  Value call(Arguments arguments) override;
  std::optional<Value> attribute(const std::string& name) override;

 private:
  Interpreter& interpreter_;
  const Stmt& statement_;
  std::string name_;
  ScopePtr scope_;
};

class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  // `items` are what remains of `iterable` after the loop's own filter, or the same.
  Loop(Interpreter& interpreter, const Stmt& statement, ScopePtr outer, const Value& iterable, int depth);
  std::string type_name() const override { return "LoopContext"; }
  std::string repr() const override;
  bool callable() const override { return true; }
  int depth() const override { return iterable_.depth() + 1; }
  std::optional<int64_t> length() override;
  Value call(Arguments arguments) override;
  std::optional<Value> attribute(const std::string& name) override;
  std::optional<Value> advance();  // to the next item
  void leave() { outer_.reset(); }

 private:
  class Method;
  const std::optional<Value>& peek();

  Interpreter& interpreter_;
  const Stmt& statement_;
  ScopePtr outer_;
  Value iterable_;
  Iterator iterator_;
  int depth_;
  int64_t index_ = -1;
  std::optional<int64_t> length_;
  std::optional<Value> before_, current_, after_, changed_;
  bool peeked_ = false;
};

class Function : public Object {
 public:
  explicit Function(std::function<Value(Arguments&)> function) : function_(std::move(function)) {}
  std::string type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Arguments arguments) override { return function_(arguments); }

 private:
  std::function<Value(Arguments&)> function_;
};

}  // namespace mneme::jinja
