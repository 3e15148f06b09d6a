// Guards of the interpreter: what they change comes back however the block ends.
#pragma once

#include <utility>

#include "text/jinja_interpreter.h"

namespace mneme::jinja {

class Interpreter::Deeper {
 public:
  explicit Deeper(Interpreter& in) : in_(in) {
    const Budget* budget = Budget::current();
    if (budget && in_.depth_ >= budget->limits().depth) fail("the template recurses too deeply");
    ++in_.depth_;
  }
  ~Deeper() { --in_.depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  Interpreter& in_;
};

// A fresh scope below `parent` (a copy: what is passed is often the very pointer that changes here).
class Interpreter::InScope {
 public:
  InScope(Interpreter& in, ScopePtr parent) : in_(in), before_(in.scope_) {
    in_.scope_ = std::make_shared<Scope>();
    in_.scope_->parent = std::move(parent);
  }
  ~InScope() { in_.scope_ = std::move(before_); }
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

 private:
  Interpreter& in_;
  ScopePtr before_;
};

// Output goes into a text of its own.
class Interpreter::Capture {
 public:
  explicit Capture(Interpreter& in) : in_(in), before_(in.out_), open_(in.open_) {
    in_.out_ = &text_;
    ++in_.captures_;
  }
  ~Capture() {
    in_.out_ = before_;
    in_.open_ = open_;
    --in_.captures_;
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  std::string take() { return std::move(text_); }

 private:
  Interpreter& in_;
  std::string* before_;
  size_t open_;
  std::string text_;
};

}  // namespace mneme::jinja
