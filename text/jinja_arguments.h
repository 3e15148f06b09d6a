// The arguments of a built-in filter, test or method, matched to its parameters by position and name.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace mneme::jinja {

class Bound {
 public:
  // Fails for too many, unknown, double, or (of the first `required` ones) missing arguments.
  Bound(std::string_view function, Arguments& given, std::initializer_list<std::string_view> names,
        size_t required = 0);
  const Value* operator[](size_t i) const { return values_[i] ? &*values_[i] : nullptr; }
  bool given(size_t i) const { return values_[i].has_value(); }
  // The value as a type, or the default where it was left out. An integer or text must be one.
  bool truth(size_t i, bool otherwise) const { return values_[i] ? values_[i]->truth() : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;
  std::string text(size_t i, std::string_view otherwise) const;

 private:
  std::string function_;
  std::vector<std::optional<Value>> values_;
};

using Builtin = Value (*)(const Value& subject, Arguments& arguments);

// A method taken off its object, or a global function.
class BuiltinFunction : public Object {
 public:
  BuiltinFunction(std::string name, Value self, Builtin function)
      : name_(std::move(name)), self_(std::move(self)), function_(function) {}
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override { return "<built-in method " + name_ + ">"; }
  bool callable() const override { return true; }
  Value call(Arguments arguments) override { return function_(self_, arguments); }
  int depth() const override { return self_.depth() + 1; }

 private:
  std::string name_;
  Value self_;
  Builtin function_;
};

}  // namespace mneme::jinja
