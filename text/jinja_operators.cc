#include "text/jinja_operators.h"

#include <string.h>  // memmem

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja_format.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

[[noreturn]] void unsupported(std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  fail("unsupported operand type(s) for " + std::string(op) + ": '" + a.type_name() + "' and '" +
       b.type_name() + "'");
}

[[noreturn]] void overflow() { fail("an integer does not fit into 64 bits"); }

// Both operands as integers, or nothing.
std::optional<std::pair<int64_t, int64_t>> integers(const Value& a, const Value& b) {
  auto x = a.as_integer(), y = b.as_integer();
  if (!x || !y) return std::nullopt;
  return std::pair(*x, *y);
}

std::pair<double, double> reals(std::string_view op, const Value& a, const Value& b) {
  auto x = a.as_number(), y = b.as_number();
  if (!x || !y) unsupported(op, a, b);
  return {*x, *y};
}

double floor_mod(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return rest == 0 ? std::copysign(0.0, b) : rest;
}

Value repeat(const Value& value, int64_t times) {
  auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (const Text* text = value.text()) {
    reserve(count, text->bytes.size());
    std::string out;
    out.reserve(text->bytes.size() * count);
    for (size_t i = 0; i < count && !text->bytes.empty(); ++i) out += text->bytes;
    return {std::move(out), text->markup};
  }
  const Sequence* sequence = value.sequence();
  reserve(count, sequence->items.size() * sizeof(Value));
  std::vector<Value> items;
  for (size_t i = 0; i < count && !sequence->items.empty(); ++i) {
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return std::make_shared<const Sequence>(sequence->kind, std::move(items));
}

bool repeatable(const Value& value) {
  return value.text() || (value.sequence() && value.sequence()->kind <= Sequence::Kind::tuple);
}

int compare_text(const Value& a, const Value& b) {
  spend(std::min(a.text()->bytes.size(), b.text()->bytes.size()));
  return a.text()->bytes.compare(b.text()->bytes);
}

template <class T>
bool holds(T a, T b, std::string_view op) {
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  return a >= b;
}

// Lists and tuples compare with lists and tuples of their kind, sets of map views not at all here.
bool same_list_kind(const Sequence& a, const Sequence& b) { return a.kind == b.kind; }

std::optional<int64_t> bound(const std::optional<Value>& value) {
  if (!value || value->is_none()) return std::nullopt;
  if (value->is_undefined()) fail_undefined(*value);
  auto integer = value->as_integer();
  if (!integer) fail("slice indices must be integers or None or have an __index__ method");
  return integer;
}

}  // namespace

void reserve(size_t count, size_t size) {
  if (count != 0 && size > std::numeric_limits<size_t>::max() / 2 / count)
    fail("a value too large for memory");
  Held probe(count * size);
}

Value add(const Value& a, const Value& b) {
  if (a.text() && b.text()) {
    const Text &x = *a.text(), &y = *b.text();
    if (x.markup || y.markup) {
      return {(x.markup ? x.bytes : escape_html(x.bytes)) + (y.markup ? y.bytes : escape_html(y.bytes)),
              true};
    }
    return x.bytes + y.bytes;
  }
  if (auto both = integers(a, b)) {
    int64_t sum = 0;
    if (__builtin_add_overflow(both->first, both->second, &sum)) overflow();
    return sum;
  }
  if (a.sequence() && b.sequence() && same_list_kind(*a.sequence(), *b.sequence()) && repeatable(a)) {
    std::vector<Value> items = a.sequence()->items;
    items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    return std::make_shared<const Sequence>(a.sequence()->kind, std::move(items));
  }
  if (repeatable(a) && !b.is_undefined()) {
    fail("can only concatenate " + a.type_name() + " (not \"" + b.type_name() + "\") to " + a.type_name());
  }
  auto [x, y] = reals("+", a, b);
  return x + y;
}

Value subtract(const Value& a, const Value& b) {
  if (auto both = integers(a, b)) {
    int64_t difference = 0;
    if (__builtin_sub_overflow(both->first, both->second, &difference)) overflow();
    return difference;
  }
  auto [x, y] = reals("-", a, b);
  return x - y;
}

Value multiply(const Value& a, const Value& b) {
  if (auto both = integers(a, b)) {
    int64_t product = 0;
    if (__builtin_mul_overflow(both->first, both->second, &product)) overflow();
    return product;
  }
  if (repeatable(a) && b.as_integer()) return repeat(a, *b.as_integer());
  if (repeatable(b) && a.as_integer()) return repeat(b, *a.as_integer());
  auto [x, y] = reals("*", a, b);
  return x * y;
}

Value divide(const Value& a, const Value& b) {
  auto [x, y] = reals("/", a, b);
  if (y == 0) fail("division by zero");
  return x / y;
}

Value floor_divide(const Value& a, const Value& b) {
  if (auto both = integers(a, b)) {
    auto [x, y] = *both;
    if (y == 0) fail("integer division or modulo by zero");
    if (y == -1) return negate(a);
    return x / y - (x % y != 0 && (x < 0) != (y < 0));
  }
  auto [x, y] = reals("//", a, b);
  if (y == 0) fail("float floor division by zero");
  const double whole = std::round((x - floor_mod(x, y)) / y);
  return whole == 0 ? std::copysign(0.0, x / y) : whole;
}

Value modulo(const Value& a, const Value& b) {
  if (a.text()) return format_percent(a, b);
  if (auto both = integers(a, b)) {
    auto [x, y] = *both;
    if (y == 0) fail("integer division or modulo by zero");
    if (y == -1) return 0;
    int64_t rest = x % y;
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  }
  auto [x, y] = reals("%", a, b);
  if (y == 0) fail("float modulo");
  return floor_mod(x, y);
}

Value power(const Value& a, const Value& b) {
  auto both = integers(a, b);
  if (both && both->second >= 0) {
    int64_t result = 1, base = both->first;
    for (int64_t left = both->second; left > 0; left >>= 1) {
      if ((left & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
      if (left > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
    }
    return result;
  }
  auto [x, y] = reals("** or pow()", a, b);
  if (x == 0 && y < 0) fail("0.0 cannot be raised to a negative power");
  double result = std::pow(x, y);
  if (std::isnan(result) && !std::isnan(x) && !std::isnan(y)) fail("a power that is not a real number");
  if (std::isinf(result) && !std::isinf(x) && !std::isinf(y)) fail("a power too large for a float");
  return result;
}

Value negate(const Value& a) {
  if (auto integer = a.as_integer()) {
    if (*integer == std::numeric_limits<int64_t>::min()) overflow();
    return -*integer;
  }
  if (const double* real = a.real()) return -*real;
  if (a.is_undefined()) fail_undefined(a);
  fail("bad operand type for unary -: '" + a.type_name() + "'");
}

Value positive(const Value& a) {
  if (auto integer = a.as_integer()) return *integer;
  if (a.real()) return a;
  if (a.is_undefined()) fail_undefined(a);
  fail("bad operand type for unary +: '" + a.type_name() + "'");
}

size_t hash_of(const Value& value) {
  if (const Text* text = value.text()) {
    spend(text->bytes.size());
    return std::hash<std::string>()(text->bytes);
  }
  if (auto number = value.as_number()) return std::hash<double>()(*number == 0 ? 0.0 : *number);
  if (value.is_none() || value.is_undefined()) return value.is_none() ? 1 : 2;
  if (value.mapping()) fail("unhashable type: 'dict'");
  if (const Sequence* sequence = value.sequence()) {
    if (sequence->kind != Sequence::Kind::tuple && sequence->kind != Sequence::Kind::range) {
      fail("unhashable type: '" + value.type_name() + "'");
    }
    size_t hash = 3;
    for (const Value& item : sequence->items) hash = hash * 31 + hash_of(item);
    return hash;
  }
  if (auto stream = value.stream()) return std::hash<const void*>()(stream.get());
  return std::hash<const void*>()(value.object().get());
}

bool equal(const Value& a, const Value& b) {
  spend(0);
  if (a.text() && b.text()) {
    return a.text()->bytes.size() == b.text()->bytes.size() && compare_text(a, b) == 0;
  }
  if (a.is_number() && b.is_number()) {
    if (auto both = integers(a, b)) return both->first == both->second;
    return *a.as_number() == *b.as_number();
  }
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (const Sequence* x = a.sequence(), *y = b.sequence(); x && y) {
    if (x == y) return true;
    if (!same_list_kind(*x, *y) || x->items.size() != y->items.size()) return false;
    for (size_t i = 0; i < x->items.size(); ++i) {
      if (!equal(x->items[i], y->items[i])) return false;
    }
    return true;
  }
  if (const Mapping* x = a.mapping(), *y = b.mapping(); x && y) {
    if (x->size() != y->size()) return false;
    for (const auto& [key, value] : x->entries()) {
      const Value* other = y->find(key);
      if (!other || !equal(value, *other)) return false;
    }
    return true;
  }
  if (a.is_none() && b.is_none()) return true;
  return (a.stream() && a.stream() == b.stream()) || (a.object() && a.object() == b.object());
}

bool ordered(const Value& a, const Value& b, std::string_view op) {
  spend(0);
  if (a.text() && b.text()) return holds(compare_text(a, b), 0, op);
  if (a.is_number() && b.is_number()) {
    if (auto both = integers(a, b)) return holds(both->first, both->second, op);
    return holds(*a.as_number(), *b.as_number(), op);
  }
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (const Sequence* x = a.sequence(), *y = b.sequence();
      x && y && same_list_kind(*x, *y) && x->kind <= Sequence::Kind::tuple) {
    for (size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
      if (!equal(x->items[i], y->items[i])) return ordered(x->items[i], y->items[i], op);
    }
    return holds(x->items.size(), y->items.size(), op);
  }
  fail("'" + std::string(op) + "' not supported between instances of '" + a.type_name() + "' and '" +
       b.type_name() + "'");
}

bool contains(const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    const Text* part = item.text();
    if (!part) {
      if (item.is_undefined()) fail_undefined(item);
      fail("'in <string>' requires string as left operand, not " + item.type_name());
    }
    spend(text->bytes.size() + part->bytes.size());
    return part->bytes.empty() ||
           memmem(text->bytes.data(), text->bytes.size(), part->bytes.data(), part->bytes.size()) != nullptr;
  }
  if (const Mapping* mapping = container.mapping()) return mapping->find(item) != nullptr;
  if (!Iterator::possible(container))
    fail("argument of type '" + container.type_name() + "' is not iterable");
  Iterator iterator(container);
  while (auto other = iterator.next()) {
    if (equal(*other, item)) return true;
  }
  return false;
}

Value slice(const Value& a, const std::optional<Value>& start, const std::optional<Value>& stop,
            const std::optional<Value>& step) {
  if (a.is_undefined()) fail_undefined(a);
  const Text* text = a.text();
  const Sequence* sequence = a.sequence();
  if (!text && !(sequence && sequence->kind <= Sequence::Kind::range)) {
    return Value::undefined("'" + a.type_name() + " object' cannot be sliced");
  }
  const int64_t length = *length_of(a),
                by = std::max(bound(step).value_or(1), -std::numeric_limits<int64_t>::max());
  if (by == 0) fail("slice step cannot be zero");
  auto clip = [&](std::optional<int64_t> at, int64_t otherwise) {
    if (!at) return otherwise;
    int64_t low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
    return std::clamp(*at < 0 ? std::max(*at, -length - 1) + length : *at, low, high);
  };
  const int64_t first = clip(bound(start), by > 0 ? 0 : length - 1),
                last = clip(bound(stop), by > 0 ? length : -1);
  if (text && by == 1) {
    spend(text->bytes.size());
    size_t from = offset_of(text->bytes, first), to = std::max(from, offset_of(text->bytes, last));
    return {text->bytes.substr(from, to - from), text->markup};
  }
  std::vector<int64_t> chosen;
  for (int64_t at = first; by > 0 ? at < last : at > last;) {
    chosen.push_back(at);
    if (by > 0 ? at > length - by : at < -by) break;  // also keeps a huge step from overflowing
    at += by;
  }
  if (text) {
    spend(text->bytes.size() * 4);
    std::vector<uint32_t> points = points_of(text->bytes), out;
    for (int64_t at : chosen) out.push_back(points[static_cast<size_t>(at)]);
    return {text_of(out), text->markup};
  }
  std::vector<Value> items;
  for (int64_t at : chosen) items.push_back(sequence->items[static_cast<size_t>(at)]);
  std::string shown;
  if (sequence->kind == Sequence::Kind::range) {
    const int64_t from = items.empty() ? 0 : *items[0].integer(),
                  to = items.empty() ? 0 : *items.back().integer();
    const int64_t gap = items.size() > 1 ? *items[1].integer() - from : 1;
    shown = "range(" + std::to_string(from) + ", " + std::to_string(items.empty() ? 0 : to + gap) +
            (gap == 1 ? ")" : ", " + std::to_string(gap) + ")");
  }
  return std::make_shared<const Sequence>(sequence->kind, std::move(items), std::move(shown));
}

}  // namespace mneme::jinja
