// Values of the template language: Python's, as far as a template can see them. Texts are UTF-8 and count
// code points; lists and maps are immutable (the sandbox of the original forbids changing them), so values
// are shared freely; maps keep insertion order. What prints, compares or fails in Python does so here, in the
// same way.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_budget.h"

namespace mneme::jinja {

class Value;
struct Text;
struct Sequence;
class Mapping;
struct Stream;
class Object;

// Why a value is undefined; using it anyway fails with this.
struct Missing {
  std::string reason;
};

class Value {
 public:
  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(int value) : data_(static_cast<int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string value, bool markup = false);
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(std::shared_ptr<const Text> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Sequence> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Mapping> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Stream> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Object> value) : data_(std::move(value)) {}
  static Value undefined(std::string reason);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  bool is_undefined() const { return std::holds_alternative<std::shared_ptr<const Missing>>(data_); }
  bool is_none() const { return std::holds_alternative<std::monostate>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const Text* text() const { return pointer<std::shared_ptr<const Text>>(); }
  const Sequence* sequence() const { return pointer<std::shared_ptr<const Sequence>>(); }
  const Mapping* mapping() const { return pointer<std::shared_ptr<const Mapping>>(); }
  std::shared_ptr<Stream> stream() const { return shared<std::shared_ptr<Stream>>(); }
  std::shared_ptr<Object> object() const { return shared<std::shared_ptr<Object>>(); }
  const Missing* missing() const { return pointer<std::shared_ptr<const Missing>>(); }

  // An integer in Python's sense: booleans are 0 and 1.
  std::optional<int64_t> as_integer() const;
  std::optional<double> as_number() const;
  bool is_number() const { return boolean() || integer() || real(); }

  bool truth() const;
  std::string str() const;   // what {{ }} prints
  std::string repr() const;  // how it prints inside a list
  std::string type_name() const;
  int depth() const;                         // of nesting; bounded, so that recursion over values is
  bool identical(const Value& other) const;  // Python's `is`

 private:
  template <class Shared>
  auto pointer() const -> decltype(std::declval<Shared>().get()) {
    const auto* held = std::get_if<Shared>(&data_);
    return held ? held->get() : nullptr;
  }
  template <class Shared>
  Shared shared() const {
    const auto* held = std::get_if<Shared>(&data_);
    return held ? *held : nullptr;
  }
  std::variant<std::monostate, bool, int64_t, double, std::shared_ptr<const Missing>,
               std::shared_ptr<const Text>, std::shared_ptr<const Sequence>, std::shared_ptr<const Mapping>,
               std::shared_ptr<Stream>, std::shared_ptr<Object>>
      data_;
};

struct Text {
  std::string bytes;
  bool markup;  // Markup of the original: `safe` text, which escapes what is added to it
  Held held;
  Text(std::string value, bool is_markup)
      : bytes(std::move(value)), markup(is_markup), held(bytes.size() + 48) {}
};

struct Sequence {
  // The kinds differ in how they print and in what the tests say of them.
  enum class Kind { list, tuple, range, keys, values, items };
  Kind kind;
  std::vector<Value> items;
  std::string shown;  // how a range prints; kGroup for a pair of `groupby`, whose parts have names
  int depth;
  Held held;
  Sequence(Kind k, std::vector<Value> v, std::string s = {});
};

inline constexpr char kGroup[] = "group";

class Mapping {
 public:
  using Entry = std::pair<Value, Value>;
  explicit Mapping(
      std::vector<Entry> entries);  // a later entry of an equal key replaces the value of the former
  const Value* find(const Value& key) const;  // fails for an unhashable key
  const std::vector<Entry>& entries() const { return entries_; }
  int depth() const { return depth_; }
  size_t size() const { return entries_.size(); }

 private:
  std::optional<size_t> position(const Value& key) const;
  std::vector<Entry> entries_;
  std::unordered_multimap<size_t, size_t> index_;
  int depth_ = 1;
  std::optional<Held> held_;
};

// A generator: gives its items once.
struct Stream {
  std::string kind;
  std::function<std::optional<Value>()> next;
  int depth = 1;  // one more than what it draws from
  Held held{256};
  static Value of(std::string kind, const Value& source, std::function<std::optional<Value>()> next);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
  std::optional<Value> take(std::string_view name);  // removes a named one
};

// Everything with behaviour of its own: namespaces, macros, loops, bound methods.
class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::string repr() const { return "<" + type_name() + ">"; }
  virtual std::optional<Value> attribute(const std::string&) { return std::nullopt; }
  virtual bool callable() const { return false; }
  virtual Value call(Arguments) { fail("'" + type_name() + "' object is not callable"); }
  virtual std::optional<int64_t> length() { return std::nullopt; }
  virtual int depth() const { return 1; }

 private:
  Held held_{128};
};

// One pass over anything that Python can iterate; fails for the rest.
class Iterator {
 public:
  explicit Iterator(const Value& value);
  std::optional<Value> next();
  static bool possible(const Value& value);

 private:
  Value value_;
  size_t position_ = 0;
};

// One more than the deepest of them; fails past a bound.
int deeper(const std::vector<Value>& values);
std::vector<Value> items_of(const Value& value);  // list(value)
std::optional<int64_t> length_of(const Value& value);
size_t hash_of(const Value& value);  // fails for what is unhashable
bool equal(const Value& a, const Value& b);
// a < b, and the like; fails for what Python does not order. `op` is one of < <= > >=.
bool ordered(const Value& a, const Value& b, std::string_view op);
bool contains(const Value& container, const Value& item);  // item in container

std::string quote(std::string_view text);  // Python's repr of a str
std::string show_real(double value);       // Python's repr of a float
std::string escape_html(std::string_view text);
[[noreturn]] void fail_undefined(const Value& value);

}  // namespace mneme::jinja
