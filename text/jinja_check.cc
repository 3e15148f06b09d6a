// What can be said of a template before it runs. The original compiles, and refuses at that time filters and
// tests that do not exist, except below `if`, where a template may ask first whether they do.
#include "text/jinja_ast.h"
#include "text/jinja_builtins.h"
#include "text/jinja_lexer.h"

namespace mneme::jinja {
namespace {

struct Names {  // special names that a macro's body reads
  bool caller = false, kwargs = false, varargs = false;
};

class Checker {
 public:
  void body(Body& statements, bool soft, bool in_loop) {
    for (auto& statement : statements) one(*statement, soft, in_loop);
  }

 private:
  void one(Stmt& s, bool soft, bool in_loop) {
    switch (s.kind) {
      case Stmt::Kind::conditional:
        for (Branch& branch : s.branches) {
          expr(branch.test, true);
          body(branch.body, true, in_loop);
        }
        break;
      case Stmt::Kind::loop:
        expr(s.expr, soft);
        expr(s.test, false);
        loop_target(*s.target);
        body(s.body, false, true);
        body(s.other, false, false);
        break;
      case Stmt::Kind::macro:
      case Stmt::Kind::call:
        expr(s.expr, soft);
        callable(s);
        break;
      case Stmt::Kind::break_loop:
      case Stmt::Kind::continue_loop:
        if (!in_loop) fail_at(s.line, "a loop control outside of a loop");
        break;
      case Stmt::Kind::with:
        for (ExprPtr& value : s.values) expr(value, soft);
        body(s.body, false, in_loop);
        break;
      default:
        expr(s.expr, soft);
        expr(s.filter, false);
        body(s.body, false, in_loop && s.kind != Stmt::Kind::block && s.kind != Stmt::Kind::generation);
    }
  }

  void callable(Stmt& s) {
    Names outer = used_;
    used_ = {};
    for (Parameter& parameter : s.parameters) expr(parameter.otherwise, false);
    body(s.body, false, false);
    s.uses_caller = used_.caller;
    s.uses_kwargs = used_.kwargs;
    s.uses_varargs = used_.varargs;
    // A name that an inner macro reads counts for the outer one too, as it does in the original.
    used_ = {outer.caller || used_.caller, outer.kwargs || used_.kwargs, outer.varargs || used_.varargs};
  }

  static void loop_target(const Expr& target) {
    if (target.kind == Expr::Kind::name && target.name == "loop") {
      fail_at(target.line, "Can't assign to special loop variable in for-loop");
    }
    for (const ExprPtr& child : target.children) loop_target(*child);
  }

  void expr(const ExprPtr& e, bool soft) {
    if (!e) return;
    if (e->kind == Expr::Kind::filter && !soft && !has_filter(e->name)) {
      fail_at(e->line, "No filter named '" + e->name + "'.");
    }
    if (e->kind == Expr::Kind::test && !soft && !has_test(e->name)) {
      fail_at(e->line, "No test named '" + e->name + "'.");
    }
    if (e->kind == Expr::Kind::name) {
      used_.caller = used_.caller || e->name == "caller";
      used_.kwargs = used_.kwargs || e->name == "kwargs";
      used_.varargs = used_.varargs || e->name == "varargs";
    }
    soft = soft || e->kind == Expr::Kind::conditional;
    for (const ExprPtr& child : e->children) expr(child, soft);
    for (const Keyword& keyword : e->keywords) expr(keyword.value, soft);
    expr(e->star, soft);
    expr(e->stars, soft);
  }

  Names used_;
};

}  // namespace

void check(Body& body) { Checker().body(body, false, false); }

}  // namespace mneme::jinja
