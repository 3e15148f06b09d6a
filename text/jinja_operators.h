// Python's operators on template values: arithmetic with its floors and its rules of types, text and list
// repetition, `%` formatting, subscripts and slices. Integers are 64 bits; a result that does not fit fails.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace mneme::jinja {

Value add(const Value& a, const Value& b);
Value subtract(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);
Value floor_divide(const Value& a, const Value& b);
Value modulo(const Value& a, const Value& b);
Value power(const Value& a, const Value& b);
Value negate(const Value& a);
Value positive(const Value& a);

// a[start:stop:step]; a bound that is absent or None takes its default.
Value slice(const Value& a, const std::optional<Value>& start, const std::optional<Value>& stop,
            const std::optional<Value>& step);

// What `object.name` and `object[key]` give in the sandbox of the original: methods, attributes and items,
// undefined where there is none, and an undefined that tells of the sandbox where there is one that may not
// be used.
Value attribute(const Value& object, const std::string& name);
Value item(const Value& object, const Value& key);
std::optional<Value> method(const Value& self, std::string_view name);  // of texts, lists, maps and numbers

// Fails unless so much memory may be held now: asked before something large is built.
void reserve(size_t count, size_t size);

}  // namespace mneme::jinja
