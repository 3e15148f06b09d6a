#include "text/jinja_objects.h"

namespace mneme::jinja {

std::string Namespace::repr() const {
  if (printing_ > 0) return "<Namespace {...}>";
  ++printing_;
  std::string text;
  for (const auto& [name, value] : names_)
    text += (text.empty() ? "" : ", ") + quote(name) + ": " + value.repr();
  --printing_;
  return "<Namespace {" + text + "}>";
}

std::optional<Value> Namespace::attribute(const std::string& name) {
  for (const auto& [key, value] : names_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

void Namespace::set(const std::string& name, Value value) {
  for (auto& [key, old] : names_) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  names_.emplace_back(name, std::move(value));
}

Value Macro::call(Arguments arguments) {
  return interpreter_.call_macro(statement_, name_, scope_, std::move(arguments));
}

std::optional<Value> Macro::attribute(const std::string& name) {
  if (name == "name") return Value(name_);
  if (name == "catch_kwargs") return Value(statement_.uses_kwargs);
  if (name == "catch_varargs") return Value(statement_.uses_varargs);
  if (name == "caller") return Value(statement_.uses_caller);
  if (name != "arguments") return std::nullopt;
  std::vector<Value> names;
  for (const Parameter& parameter : statement_.parameters) names.emplace_back(parameter.name);
  return Value::tuple(std::move(names));
}

class Loop::Method : public Object {
 public:
  Method(std::shared_ptr<Loop> loop, bool cycle) : loop_(std::move(loop)), cycle_(cycle) {}
  std::string type_name() const override { return "method"; }
  bool callable() const override { return true; }
  int depth() const override { return loop_->depth() + 1; }
  Value call(Arguments arguments) override {
    std::vector<Value>& given = arguments.positional;
    if (!arguments.named.empty()) fail("loop methods take no keyword arguments");
    if (cycle_) {
      if (given.empty()) fail("no items for cycling given");
      return given[static_cast<size_t>(loop_->index_) % given.size()];
    }
    Value now = Value::tuple(given);
    bool differs = !loop_->changed_ || !equal(*loop_->changed_, now);
    loop_->changed_ = now;
    return differs;
  }

 private:
  std::shared_ptr<Loop> loop_;
  bool cycle_;
};

Loop::Loop(Interpreter& interpreter, const Stmt& statement, ScopePtr outer, const Value& iterable, int depth)
    : interpreter_(interpreter),
      statement_(statement),
      outer_(std::move(outer)),
      iterable_(iterable),
      iterator_(iterable),
      depth_(depth) {}

const std::optional<Value>& Loop::peek() {
  if (!peeked_) after_ = iterator_.next();
  peeked_ = true;
  return after_;
}

std::optional<Value> Loop::advance() {
  std::optional<Value> next = peek();
  if (!next) return next;
  peeked_ = false;
  after_.reset();
  ++index_;
  before_ = std::exchange(current_, next);
  return next;
}

std::optional<int64_t> Loop::length() {
  if (length_) return length_;
  length_ = length_of(iterable_);
  if (!length_) {  // a generator: the rest is drawn now
    std::vector<Value> rest;
    if (peek()) rest.push_back(*after_);
    while (auto item = iterator_.next()) rest.push_back(*item);
    length_ = index_ + 1 + static_cast<int64_t>(rest.size());
    iterator_ = Iterator(Value::list(std::move(rest)));
    peeked_ = false;
  }
  return length_;
}

std::string Loop::repr() const {
  auto all = length_ ? length_ : length_of(iterable_);
  return "<LoopContext " + std::to_string(index_ + 1) + "/" + (all ? std::to_string(*all) : "?") + ">";
}

Value Loop::call(Arguments arguments) {
  if (!statement_.recursive || !outer_) {
    fail("The loop must have the 'recursive' marker to be called recursively.");
  }
  Bound bound("loop", arguments, {"iterable"}, 1);
  return interpreter_.call_loop(statement_, *bound[0], outer_, depth_ + 1);
}

std::optional<Value> Loop::attribute(const std::string& name) {
  if (name == "index") return Value(index_ + 1);
  if (name == "index0") return Value(index_);
  if (name == "first") return Value(index_ == 0);
  if (name == "last") return Value(!peek());
  if (name == "length") return Value(*length());
  if (name == "revindex") return Value(*length() - index_);
  if (name == "revindex0") return Value(*length() - index_ - 1);
  if (name == "depth") return Value(depth_ + 1);
  if (name == "depth0") return Value(depth_);
  if (name == "previtem") return before_ ? *before_ : Value::undefined("there is no previous item");
  if (name == "nextitem") return peek() ? *after_ : Value::undefined("there is no next item");
  if (name == "cycle" || name == "changed") {
    return Value(std::shared_ptr<Object>(std::make_shared<Method>(shared_from_this(), name == "cycle")));
  }
  return std::nullopt;
}

}  // namespace mneme::jinja
