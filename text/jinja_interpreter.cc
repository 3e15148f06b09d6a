#include "text/jinja_interpreter.h"

#include <algorithm>
#include <ctime>

#include "text/jinja_frames.h"
#include "text/jinja_objects.h"
#include "text/jinja_operators.h"

namespace mneme::jinja {
namespace {

Value function(std::function<Value(Arguments&)> body) {
  return std::shared_ptr<Object>(std::make_shared<Function>(std::move(body)));
}

Value strftime_now(const std::tm& now, Arguments& given) {
  std::string format = Bound("strftime_now", given, {"format"}, 1).text(0, "");
  // What of Python's format is not the C library's, or differs from system to system.
  for (size_t at = 0; (at = format.find('%', at)) != std::string::npos && at + 1 < format.size(); at += 2) {
    if (format[at + 1] == 'f') format.replace(at, 2, "000000");
    if (format[at + 1] >= '0' && format[at + 1] <= '9') fail("strftime_now: a field width in the format");
  }
  if (format.empty()) return "";
  reserve(1, format.size() * 64 + 64);
  std::string out(format.size() * 64 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &now));
  return out;
}

}  // namespace

Value* Scope::find_here(const std::string& name) {
  for (auto& [key, value] : names) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  if (Value* old = find_here(name)) {
    *old = std::move(value);
  } else {
    names.emplace_back(name, std::move(value));
  }
}

Interpreter::Interpreter(const std::vector<std::pair<std::string, Value>>& variables, const std::tm& now) {
  auto globals = std::make_shared<Scope>();
  for (const auto& [name, builtin] : functions()) {
    globals->set(std::string(name), Value(std::shared_ptr<Object>(std::make_shared<BuiltinFunction>(
                                        std::string(name), Value(), builtin))));
  }
  globals->set("namespace", function([this](Arguments& given) { return make_namespace(given); }));
  globals->set("strftime_now", function([now](Arguments& given) { return strftime_now(now, given); }));
  globals->set("raise_exception", function([](Arguments& given) -> Value {
                 fail(Bound("raise_exception", given, {"message"}, 1)[0]->str());
               }));
  for (const auto& [name, value] : variables) globals->set(name, value);
  root_ = scope_ = std::make_shared<Scope>();
  root_->parent = std::move(globals);
}

Interpreter::~Interpreter() {
  // A macro holds the scope that holds it, a namespace may hold itself: cut all such rings.
  for (const auto& held : namespaces_) static_cast<Namespace&>(*held).clear();
  for (const ScopePtr& scope : kept_) scope->names.clear();
}

std::string Interpreter::render(const Body& body, std::vector<Span>* spans) {
  std::string output;
  out_ = &output;
  run(body);
  if (spans) place(output, spans);
  return output;
}

// Spans written into captured text were noted where that text would stand if it was printed as it was.
void Interpreter::place(const std::string& output, std::vector<Span>* spans) const {
  size_t after = 0;
  for (const Marked& marked : marked_) {
    Span span = marked.span;
    if (marked.captured &&
        (span.end > output.size() || output.compare(span.begin, marked.text.size(), marked.text) != 0)) {
      span.begin = output.find(marked.text, after);
      if (span.begin == std::string::npos)
        fail("the text of a generation block was changed after it was rendered");
      span.end = span.begin + marked.text.size();
    }
    after = span.end;
    spans->push_back(span);
  }
}

void Interpreter::emit(std::string_view text) {
  spend(text.size());
  open_ += text.size();
  const Budget* budget = Budget::current();
  if (budget && open_ > budget->limits().output) {
    fail("the template writes more than " + std::to_string(budget->limits().output) + " bytes");
  }
  out_->append(text);
}

void Interpreter::emit_value(const Value& value) {
  if (const Text* text = value.text()) {
    if (escape_ && !text->markup) return emit(escape_html(text->bytes));
    return emit(text->bytes);
  }
  std::string text = value.str();
  emit(escape_ ? escape_html(text) : text);
}

std::string Interpreter::capture(const Body& body) {
  Capture capture(*this);
  run(body);
  return capture.take();
}

Interpreter::Flow Interpreter::run(const Body& body) {
  for (const auto& statement : body) {
    Flow flow = run(*statement);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run(const Stmt& s) {
  Deeper deeper(*this);
  spend(0);
  line_ = s.line;
  switch (s.kind) {
    case Stmt::Kind::data:
      emit(s.text->bytes);
      break;
    case Stmt::Kind::output:
      emit_value(eval(*s.expr));
      break;
    case Stmt::Kind::conditional:
      return run_conditional(s);
    case Stmt::Kind::loop:
      run_loop(s, eval(*s.expr), scope_, 0);
      break;
    case Stmt::Kind::set:
      assign(*s.target, eval(*s.expr));
      break;
    case Stmt::Kind::set_block:
      run_set_block(s);
      break;
    case Stmt::Kind::with:
      return run_with(s);
    case Stmt::Kind::macro:
      scope_->set(s.name, make_macro(s, s.name));
      break;
    case Stmt::Kind::call:
      run_call(s);
      break;
    case Stmt::Kind::filter_block: {
      std::string text;
      {
        InScope inside(*this, scope_);
        text = capture(s.body);
      }
      emit_value(filtered(s.filter, captured_text(std::move(text))));
      break;
    }
    case Stmt::Kind::block: {
      InScope inside(*this, s.scoped ? scope_ : root_);
      run(s.body);
      break;
    }
    case Stmt::Kind::autoescape:
      return run_autoescape(s);
    case Stmt::Kind::generation:
      run_generation(s);
      break;
    case Stmt::Kind::break_loop:
      return Flow::leave;
    case Stmt::Kind::continue_loop:
      return Flow::again;
    case Stmt::Kind::load:
      fail("'" + s.name + "' needs another template, and a chat template stands alone");
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_conditional(const Stmt& s) {
  for (const Branch& branch : s.branches) {
    if (!branch.test || eval(*branch.test).truth()) return run(branch.body);
  }
  return Flow::on;
}

void Interpreter::run_loop(const Stmt& s, const Value& iterable, ScopePtr outer, int depth) {
  Value items = iterable;
  if (s.test) {
    auto source = std::make_shared<Iterator>(iterable);
    items = Stream::of("generator", iterable, [this, &s, outer, source]() -> std::optional<Value> {
      while (auto item = source->next()) {
        InScope inside(*this, outer);
        assign(*s.target, *item);
        if (eval(*s.test).truth()) return item;
      }
      return std::nullopt;
    });
  }
  auto loop = std::make_shared<Loop>(*this, s, s.recursive ? outer : nullptr, items, depth);
  bool any = false;  // an iteration came to its end: one that was left or skipped does not count, in the
                     // original too
  for (Flow flow = Flow::on; flow != Flow::leave;) {
    line_ = s.line;
    auto item = loop->advance();
    if (!item) break;
    InScope inside(*this, outer);
    assign(*s.target, *item);
    scope_->set("loop", Value(std::shared_ptr<Object>(loop)));
    flow = run(s.body);
    any = any || flow == Flow::on;
  }
  if (!any) {
    InScope inside(*this, outer);
    run(s.other);
  }
  loop->leave();
}

Value Interpreter::call_loop(const Stmt& s, const Value& iterable, ScopePtr outer, int depth) {
  Deeper deeper(*this);
  Capture text(*this);
  run_loop(s, iterable, outer, depth);
  return captured_text(text.take());
}

void Interpreter::run_set_block(const Stmt& s) {
  std::string text;
  {
    InScope inside(*this, scope_);
    text = capture(s.body);
  }
  Value value = captured_text(std::move(text));
  assign(*s.target, s.filter ? filtered(s.filter, value) : value);
}

Interpreter::Flow Interpreter::run_with(const Stmt& s) {
  std::vector<Value> values;
  for (const ExprPtr& value : s.values) values.push_back(eval(*value));
  InScope inside(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(*s.targets[i], values[i]);
  return run(s.body);
}

void Interpreter::run_call(const Stmt& s) {
  Value caller = make_macro(s, "caller");
  Value result = eval_call(*s.expr, &caller);
  emit(result.str());
}

Interpreter::Flow Interpreter::run_autoescape(const Stmt& s) {
  const bool before = escape_;
  escape_ = eval(*s.expr).truth();
  InScope inside(*this, scope_);
  Flow flow = run(s.body);
  escape_ = before;
  return flow;
}

void Interpreter::run_generation(const Stmt& s) {
  const size_t begin = open_, here = out_->size();
  {
    InScope inside(*this, scope_);
    run(s.body);
  }
  Marked marked{{begin, open_}, "", captures_ > 0};
  if (marked.captured) marked.text = out_->substr(here);
  marked_.push_back(std::move(marked));
}

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == Expr::Kind::name) {
    scope_->set(target.name, value);
  } else if (target.kind == Expr::Kind::member) {
    auto held = std::dynamic_pointer_cast<Namespace>(eval_name(target).object());
    if (!held) fail("cannot assign attribute on non-namespace object");
    held->set(target.names[0], value);
  } else {
    std::vector<Value> items = items_of(value);
    if (items.size() != target.children.size()) {
      fail("cannot unpack " + std::to_string(items.size()) + " values into " +
           std::to_string(target.children.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) assign(*target.children[i], items[i]);
  }
}

Value Interpreter::make_macro(const Stmt& s, const std::string& name) {
  if (!std::exchange(scope_->kept, true)) kept_.push_back(scope_);
  return std::shared_ptr<Object>(std::make_shared<Macro>(*this, s, name, scope_));
}

Value Interpreter::make_namespace(const Arguments& arguments) {
  auto made = std::make_shared<Namespace>();
  const Value names = make_dict(arguments);
  for (const auto& [key, value] : names.mapping()->entries()) made->set(key.str(), value);
  namespaces_.push_back(made);
  return std::shared_ptr<Object>(made);
}

Value Interpreter::call_macro(const Stmt& macro, const std::string& name, ScopePtr scope, Arguments given) {
  Deeper deeper(*this);
  const size_t count = macro.parameters.size(), taken = std::min(count, given.positional.size());
  std::vector<std::optional<Value>> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = i < taken ? given.positional[i] : given.take(macro.parameters[i].name);
  }
  bool explicit_caller = std::any_of(macro.parameters.begin(), macro.parameters.end(),
                                     [](const Parameter& p) { return p.name == "caller"; });
  InScope inside(*this, scope);
  if (macro.uses_caller && !explicit_caller) {
    auto caller = given.take("caller");
    scope_->set("caller", caller && !caller->is_none() ? *caller : Value::undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    scope_->set("kwargs", make_dict({{}, std::move(given.named)}));
  } else if (!given.named.empty()) {
    fail("macro '" + name + "' takes no keyword argument '" + given.named[0].first + "'");
  }
  if (macro.uses_varargs) {
    scope_->set("varargs", Value::tuple({given.positional.begin() + static_cast<ptrdiff_t>(taken),
                                         given.positional.end()}));
  } else if (given.positional.size() > count) {
    fail("macro '" + name + "' takes not more than " + std::to_string(count) + " argument(s)");
  }
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = macro.parameters[i];
    if (!values[i]) {
      values[i] = parameter.otherwise
                      ? eval(*parameter.otherwise)
                      : Value::undefined("parameter '" + parameter.name + "' was not provided");
    }
    scope_->set(parameter.name, *values[i]);
  }
  return captured_text(capture(macro.body));
}

}  // namespace mneme::jinja
