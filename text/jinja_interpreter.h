// Walks a parsed template and writes its text. One Interpreter is one rendering: it owns the scopes and
// everything that could refer to itself (namespaces, the scopes of macros), and takes them apart when it
// ends.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_builtins.h"

namespace mneme::jinja {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> names;
  bool kept = false;  // by a macro, and so until the rendering ends
  Held held{256};

  Value* find_here(const std::string& name);
  void set(const std::string& name, Value value);
};
using ScopePtr = std::shared_ptr<Scope>;

// Bytes [begin, end) of the output that a {% generation %} block wrote.
struct Span {
  size_t begin, end;
};

class Interpreter {
 public:
  // `now` is a broken-down local time for strftime_now.
  Interpreter(const std::vector<std::pair<std::string, Value>>& variables, const std::tm& now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  std::string render(const Body& body, std::vector<Span>* spans);
  int line() const { return line_; }  // being evaluated: where a failure happened

 private:
  friend class Macro;
  friend class Loop;
  enum class Flow { on, leave, again };
  class Deeper;
  class InScope;
  class Capture;
  struct Marked {
    Span span;
    std::string text;  // of a span written into captured text: where it ends up must be checked
    bool captured;
  };

  // Statements, jinja_interpreter.cc.
  Flow run(const Body& body);
  Flow run(const Stmt& statement);
  Flow run_conditional(const Stmt& statement);
  void run_loop(const Stmt& statement, const Value& iterable, ScopePtr outer, int depth);
  Value call_loop(const Stmt& statement, const Value& iterable, ScopePtr outer, int depth);
  void run_set_block(const Stmt& statement);
  Flow run_with(const Stmt& statement);
  void run_call(const Stmt& statement);
  Flow run_autoescape(const Stmt& statement);
  void run_generation(const Stmt& statement);
  std::string capture(const Body& body);
  void emit(std::string_view text);
  void emit_value(const Value& value);
  void assign(const Expr& target, const Value& value);
  Value make_macro(const Stmt& statement, const std::string& name);
  Value call_macro(const Stmt& macro, const std::string& name, ScopePtr scope, Arguments arguments);
  Value captured_text(std::string text) const { return {std::move(text), escape_}; }
  void place(const std::string& output, std::vector<Span>* spans) const;

  // Expressions, jinja_eval.cc.
  Value eval(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_binary(const Expr& expr);
  Value eval_unary(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_call(const Expr& expr, const Value* caller);
  Value eval_filter(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Arguments arguments_of(const Expr& expr);
  Value filtered(const ExprPtr& filter, Value subject);
  Value make_namespace(const Arguments& arguments);

  ScopePtr scope_;  // the innermost
  ScopePtr root_;   // of the template's own names
  std::string* out_ = nullptr;
  size_t open_ = 0;  // bytes in all texts being written, the captured ones included
  int captures_ = 0;
  int line_ = 1;
  int depth_ = 0;
  bool escape_ = false;
  const Value* head_ = nullptr;  // what the filter of a filter block applies to
  std::vector<Marked> marked_;
  std::vector<ScopePtr> kept_;  // scopes that macros hold
  std::vector<std::shared_ptr<Object>> namespaces_;
};

}  // namespace mneme::jinja
