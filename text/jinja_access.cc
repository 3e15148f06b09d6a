// object.name and object[key] as the immutable sandbox of the original resolves them.
#include <algorithm>
#include <set>

#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

std::string described(const Value& object) {
  if (object.is_none()) return "'None'";
  return "'" + object.type_name() + " object'";
}

Value absent(const Value& object, const Value& key) {
  std::string what =
      key.text() ? "has no attribute " + quote(key.text()->bytes) : "has no element " + key.repr();
  return Value::undefined(described(object) + " " + what);
}

// Names that exist on the Python object but may not be touched: those that would change it, and private ones.
bool forbidden(const Value& object, const std::string& name) {
  static const std::set<std::string_view> map = {"clear", "pop", "popitem", "setdefault", "update"};
  static const std::set<std::string_view> list = {"append", "clear", "pop",    "reverse",
                                                  "insert", "sort",  "extend", "remove"};
  static const std::set<std::string_view> every = {
      "__class__",      "__doc__",     "__dict__",    "__init__", "__len__",      "__getitem__",
      "__iter__",       "__eq__",      "__str__",     "__repr__", "__hash__",     "__new__",
      "__subclasses__", "__mro__",     "__globals__", "__call__", "__contains__", "__getattribute__",
      "__reduce__",     "__setattr__", "__dir__"};
  if (object.mapping() && map.count(name)) return true;
  const Sequence* sequence = object.sequence();
  if (sequence && sequence->kind == Sequence::Kind::list && list.count(name)) return true;
  return every.count(name) != 0;
}

// What Python's getattr finds, if anything.
std::optional<Value> python_attribute(const Value& object, const std::string& name) {
  if (auto held = object.object()) {
    if (auto found = held->attribute(name)) return found;
  }
  if (forbidden(object, name)) {
    return Value::undefined("access to attribute " + quote(name) + " of '" + object.type_name() +
                            "' object is unsafe.");
  }
  if (auto found = method(object, name)) return found;
  if (object.sequence() && object.sequence()->shown == kGroup && (name == "grouper" || name == "list")) {
    return object.sequence()->items[name == "list"];
  }
  if (object.is_number()) {
    if (name == "real") return positive(object);
    if (name == "imag") return object.real() ? Value(0.0) : Value(0);
    if (!object.real() && name == "numerator") return positive(object);
    if (!object.real() && name == "denominator") return Value(1);
  }
  return std::nullopt;
}

// What Python's subscript finds; nothing for a TypeError or LookupError.
std::optional<Value> python_item(const Value& object, const Value& key) {
  if (const Mapping* mapping = object.mapping()) {
    if (key.mapping() || (key.sequence() && key.sequence()->kind != Sequence::Kind::tuple))
      return std::nullopt;
    const Value* found = mapping->find(key);
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  auto index = key.as_integer();
  const Text* text = object.text();
  const Sequence* sequence = object.sequence();
  if (!index || !(text || (sequence && sequence->kind <= Sequence::Kind::range))) return std::nullopt;
  const int64_t length = *length_of(object), at = *index < 0 ? *index + length : *index;
  if (at < 0 || at >= length) return std::nullopt;
  if (sequence) return sequence->items[static_cast<size_t>(at)];
  size_t offset = offset_of(text->bytes, at);
  size_t size = point_size(static_cast<unsigned char>(text->bytes[offset]));
  return Value(text->bytes.substr(offset, size), text->markup);
}

}  // namespace

Value attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail_undefined(object);
  if (auto found = python_attribute(object, name)) return *found;
  if (auto found = python_item(object, Value(name))) return *found;
  return absent(object, Value(name));
}

Value item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail_undefined(object);
  if (auto found = python_item(object, key)) return *found;
  if (key.text()) {
    if (auto found = python_attribute(object, key.text()->bytes)) return *found;
  }
  return absent(object, key);
}

}  // namespace mneme::jinja
