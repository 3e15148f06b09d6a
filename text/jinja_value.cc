#include "text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

constexpr int kDeepestValue = 300;

int bounded(int depth) {
  if (depth > kDeepestValue) fail("values nested deeper than " + std::to_string(kDeepestValue));
  return depth;
}

std::string join_repr(const std::vector<Value>& items) {
  std::string text;
  for (const Value& item : items) {
    if (!text.empty()) text += ", ";
    text += item.repr();
    spend(text.size() / 16);
  }
  return text;
}

std::string show(const Sequence& sequence) {
  std::string inside = sequence.kind == Sequence::Kind::range ? "" : join_repr(sequence.items);
  switch (sequence.kind) {
    case Sequence::Kind::list:
      return "[" + inside + "]";
    case Sequence::Kind::tuple:
      return "(" + inside + (sequence.items.size() == 1 ? ",)" : ")");
    case Sequence::Kind::range:
      return sequence.shown;
    case Sequence::Kind::keys:
      return "dict_keys([" + inside + "])";
    case Sequence::Kind::values:
      return "dict_values([" + inside + "])";
    default:
      return "dict_items([" + inside + "])";
  }
}

}  // namespace

int deeper(const std::vector<Value>& values) {
  int depth = 0;
  for (const Value& value : values) depth = std::max(depth, value.depth());
  return bounded(depth + 1);
}

Sequence::Sequence(Kind k, std::vector<Value> v, std::string s)
    : kind(k),
      items(std::move(v)),
      shown(std::move(s)),
      depth(deeper(items)),
      held(items.size() * sizeof(Value) + 64) {}

Value::Value(std::string value, bool markup)
    : data_(std::make_shared<const Text>(std::move(value), markup)) {}

Value Value::undefined(std::string reason) {
  Value value;
  value.data_ = std::make_shared<const Missing>(Missing{std::move(reason)});
  return value;
}

Value Value::list(std::vector<Value> items) {
  return std::make_shared<const Sequence>(Sequence::Kind::list, std::move(items));
}

Value Value::tuple(std::vector<Value> items) {
  return std::make_shared<const Sequence>(Sequence::Kind::tuple, std::move(items));
}

Value Value::from_json(const nlohmann::ordered_json& json, int depth) {
  if (depth > kDeepestValue) fail("JSON nested deeper than " + std::to_string(kDeepestValue));
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return {};
    case nlohmann::ordered_json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::ordered_json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::ordered_json::value_t::number_unsigned: {
      auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail("the integer " + std::to_string(number) + " does not fit into 64 bits");
      }
      return static_cast<int64_t>(number);
    }
    case nlohmann::ordered_json::value_t::number_float:
      return json.get<double>();
    case nlohmann::ordered_json::value_t::string:
      return json.get<std::string>();
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<Mapping::Entry> entries;
      for (const auto& [key, item] : json.items())
        entries.emplace_back(Value(key), from_json(item, depth + 1));
      return std::make_shared<const Mapping>(std::move(entries));
    }
    default:
      fail("a JSON value that is neither text, number, list nor map");
  }
}

int Value::depth() const {
  if (const Sequence* s = sequence()) return s->depth;
  if (const Mapping* m = mapping()) return m->depth();
  if (auto s = stream()) return s->depth;
  if (auto o = object()) return o->depth();
  return 0;
}

std::optional<int64_t> Value::as_integer() const {
  if (const bool* b = boolean()) return *b ? 1 : 0;
  if (const int64_t* i = integer()) return *i;
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (const double* r = real()) return *r;
  if (auto i = as_integer()) return static_cast<double>(*i);
  return std::nullopt;
}

bool Value::truth() const {
  if (const bool* b = boolean()) return *b;
  if (const int64_t* i = integer()) return *i != 0;
  if (const double* r = real()) return *r != 0;
  if (const Text* t = text()) return !t->bytes.empty();
  if (const Sequence* s = sequence()) return !s->items.empty();
  if (const Mapping* m = mapping()) return m->size() != 0;
  if (auto o = object()) return o->length().value_or(1) != 0;
  return stream() != nullptr;
}

std::string Value::str() const {
  if (const Text* t = text()) return t->bytes;
  if (is_undefined()) return "";
  return repr();
}

std::string Value::repr() const {
  spend(32);
  if (is_none()) return "None";
  if (is_undefined()) return "Undefined";
  if (const bool* b = boolean()) return *b ? "True" : "False";
  if (const int64_t* i = integer()) return std::to_string(*i);
  if (const double* r = real()) return show_real(*r);
  if (const Text* t = text()) return t->markup ? "Markup(" + quote(t->bytes) + ")" : quote(t->bytes);
  if (const Sequence* s = sequence()) return show(*s);
  if (const Mapping* m = mapping()) {
    std::string text;
    for (const auto& [key, value] : m->entries()) {
      text += (text.empty() ? "" : ", ") + key.repr() + ": " + value.repr();
      spend(text.size() / 16);
    }
    return "{" + text + "}";
  }
  if (auto s = stream()) return "<" + s->kind + " object>";
  return object()->repr();
}

std::string Value::type_name() const {
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (boolean()) return "bool";
  if (integer()) return "int";
  if (real()) return "float";
  if (const Text* t = text()) return t->markup ? "Markup" : "str";
  if (mapping()) return "dict";
  if (auto s = stream()) return s->kind;
  if (auto o = object()) return o->type_name();
  switch (sequence()->kind) {
    case Sequence::Kind::list:
      return "list";
    case Sequence::Kind::tuple:
      return "tuple";
    case Sequence::Kind::range:
      return "range";
    case Sequence::Kind::keys:
      return "dict_keys";
    case Sequence::Kind::values:
      return "dict_values";
    default:
      return "dict_items";
  }
}

bool Value::identical(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_none()) return true;
  if (is_number()) return equal(*this, other);
  // Python shares small strings; equal ones of one template count as the same.
  if (text()) return text()->bytes == other.text()->bytes;
  return text() == other.text() && sequence() == other.sequence() && mapping() == other.mapping() &&
         stream() == other.stream() && object() == other.object() && missing() == other.missing();
}

Value Stream::of(std::string kind, const Value& source, std::function<std::optional<Value>()> next) {
  auto made = std::make_shared<Stream>();
  made->kind = std::move(kind);
  made->next = std::move(next);
  made->depth = bounded(source.depth() + 1);
  return made;
}

Mapping::Mapping(std::vector<Entry> entries) {
  constexpr size_t kSmall = 8;  // below it a scan is quicker than the index
  entries_.reserve(entries.size());
  held_.emplace(entries.size() * (sizeof(Entry) + 48) + 64);
  for (Entry& entry : entries) {
    size_t hash = hash_of(entry.first);
    depth_ = std::max({depth_, entry.first.depth() + 1, entry.second.depth() + 1});
    if (auto found = position(entry.first)) {
      entries_[*found].second = std::move(entry.second);
      continue;
    }
    entries_.push_back(std::move(entry));
    if (entries_.size() > kSmall && index_.empty()) {
      for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(hash_of(entries_[i].first), i);
    } else if (!index_.empty()) {
      index_.emplace(hash, entries_.size() - 1);
    }
  }
  bounded(depth_);
}

std::optional<size_t> Mapping::position(const Value& key) const {
  if (index_.empty()) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (equal(entries_[i].first, key)) return i;
    }
    return std::nullopt;
  }
  auto [first, last] = index_.equal_range(hash_of(key));
  for (; first != last; ++first) {
    if (equal(entries_[first->second].first, key)) return first->second;
  }
  return std::nullopt;
}

const Value* Mapping::find(const Value& key) const {
  hash_of(key);
  auto found = position(key);
  return found ? &entries_[*found].second : nullptr;
}

std::optional<Value> Arguments::take(std::string_view name) {
  for (auto it = named.begin(); it != named.end(); ++it) {
    if (it->first == name) {
      Value value = std::move(it->second);
      named.erase(it);
      return value;
    }
  }
  return std::nullopt;
}

bool Iterator::possible(const Value& value) {
  return value.is_undefined() || value.text() || value.sequence() || value.mapping() || value.stream();
}

Iterator::Iterator(const Value& value) : value_(value) {
  if (!possible(value)) fail("'" + value.type_name() + "' object is not iterable");
}

std::optional<Value> Iterator::next() {
  spend(0);
  if (const Sequence* s = value_.sequence()) {
    if (position_ >= s->items.size()) return std::nullopt;
    return s->items[position_++];
  }
  if (const Mapping* m = value_.mapping()) {
    if (position_ >= m->size()) return std::nullopt;
    return m->entries()[position_++].first;
  }
  if (const Text* t = value_.text()) {
    if (position_ >= t->bytes.size()) return std::nullopt;
    size_t size =
        std::min(point_size(static_cast<unsigned char>(t->bytes[position_])), t->bytes.size() - position_);
    Value point(t->bytes.substr(position_, size), t->markup);
    position_ += size;
    return point;
  }
  if (auto s = value_.stream()) return s->next();
  return std::nullopt;
}

std::vector<Value> items_of(const Value& value) {
  if (const Sequence* s = value.sequence()) return s->items;
  std::vector<Value> items;
  Iterator iterator(value);
  while (auto item = iterator.next()) items.push_back(std::move(*item));
  return items;
}

std::optional<int64_t> length_of(const Value& value) {
  if (const Text* t = value.text()) {
    spend(t->bytes.size());
    return count_points(t->bytes);
  }
  if (const Sequence* s = value.sequence()) return static_cast<int64_t>(s->items.size());
  if (const Mapping* m = value.mapping()) return static_cast<int64_t>(m->size());
  if (value.is_undefined()) return 0;
  if (auto o = value.object()) return o->length();
  return std::nullopt;
}

std::string quote(std::string_view text) {
  bool single = text.find('\'') != std::string_view::npos, twice = text.find('"') != std::string_view::npos;
  char mark = single && !twice ? '"' : '\'';
  std::string out(1, mark);
  auto hex = [&](char letter, uint32_t point, int digits) {
    out += {'\\', letter};
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
      out += "0123456789abcdef"[(point >> shift) & 15];
  };
  for (size_t at = 0, size = 0; at < text.size(); at += size) {
    uint32_t point = point_at(text, at, &size);
    if (point == static_cast<uint32_t>(mark) || point == '\\') {
      out += {'\\', static_cast<char>(point)};
    } else if (point == '\n') {
      out += "\\n";
    } else if (point == '\r') {
      out += "\\r";
    } else if (point == '\t') {
      out += "\\t";
    } else if (is_printable(point)) {
      out.append(text.substr(at, size));
    } else if (point < 0x100) {
      hex('x', point, 2);
    } else if (point < 0x10000) {
      hex('u', point, 4);
    } else {
      hex('U', point, 8);
    }
  }
  return out + mark;
}

std::string show_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view shown(buffer, static_cast<size_t>(end - buffer));
  bool negative = shown[0] == '-';
  if (negative) shown.remove_prefix(1);
  size_t mark = shown.find('e');
  std::string digits(1, shown[0]);
  if (mark > 2) digits += shown.substr(2, mark - 2);
  int exponent = std::atoi(std::string(shown.substr(mark + 1)).c_str());
  auto count = static_cast<int>(digits.size());
  std::string out = negative ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "") + (exponent < 0 ? "e-" : "e+");
    std::string power = std::to_string(std::abs(exponent));
    return out + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return out + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

void fail_undefined(const Value& value) {
  const Missing* missing = value.missing();
  fail(missing ? missing->reason : "value is undefined");
}

}  // namespace mneme::jinja
