// Filters of sequences and maps. As in the original, those that select or map give generators: they do their
// work when asked for the next item, and only once.
#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

using Getter = std::function<Value(const Value&)>;

Value ignore_case(const Value& x) { return x.text() ? Value(lower(x.text()->bytes)) : x; }

// "a.b.0": one step after the other.
std::vector<Value> parts_of(const Value& attribute) {
  if (attribute.is_none()) return {};
  if (!attribute.text()) return {attribute};
  std::vector<Value> parts;
  std::string_view text = attribute.text()->bytes;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('.', at), text.size());
    std::string part(text.substr(at, end - at));
    bool digits =
        !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string::npos;
    parts.push_back(digits ? Value(static_cast<int64_t>(std::stoll(part))) : Value(part));
    at = end + 1;
  }
  return parts;
}

Getter getter(const Value& attribute, bool fold, std::optional<Value> otherwise = std::nullopt) {
  if (otherwise && otherwise->is_none()) otherwise.reset();
  return [parts = parts_of(attribute), fold, otherwise](const Value& start) {
    Value value = start;
    for (const Value& part : parts) {
      value = item(value, part);
      if (otherwise && value.is_undefined()) value = *otherwise;
    }
    return fold ? ignore_case(value) : value;
  };
}

Value given_or(const Bound& bound, size_t i, Value otherwise) {
  return bound.given(i) ? *bound[i] : otherwise;
}

using Keyed = std::pair<Value, Value>;  // the key, and what it sorts

void sort_keyed(std::vector<Keyed>& items, bool reverse) {
  spend(items.size() * 256);
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? ordered(b.first, a.first, "<") : ordered(a.first, b.first, "<");
  });
}

Value values_of(std::vector<Keyed>& items) {
  std::vector<Value> out;
  out.reserve(items.size());
  for (Keyed& item : items) out.push_back(std::move(item.second));
  return Value::list(std::move(out));
}

Value sort(const Value& x, Arguments& given) {
  Bound bound("sort", given, {"reverse", "case_sensitive", "attribute"});
  const bool fold = !bound.truth(1, false);
  std::vector<Getter> getters;
  Value attribute = given_or(bound, 2, {});
  if (attribute.text()) {
    std::string_view text = attribute.text()->bytes;
    for (size_t at = 0; at <= text.size();) {
      size_t end = std::min(text.find(',', at), text.size());
      getters.push_back(getter(Value(text.substr(at, end - at)), fold));
      at = end + 1;
    }
  } else {
    getters.push_back(getter(attribute, fold));
  }
  std::vector<Keyed> items;
  for (Value& value : items_of(x)) {
    std::vector<Value> keys;
    for (const Getter& get : getters) keys.push_back(get(value));
    // A list even of one key: lists skip what is equal, so undefined keys sort if all are.
    items.emplace_back(Value::list(std::move(keys)), std::move(value));
  }
  sort_keyed(items, bound.integer(0, 0) != 0);
  return values_of(items);
}

Value dict_sort(const Value& x, Arguments& given) {
  Bound bound("dictsort", given, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.text(1, "key");
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (x.is_undefined()) fail_undefined(x);
  if (!x.mapping()) fail("'" + x.type_name() + "' object has no attribute 'items'");
  std::vector<Keyed> items;
  for (const auto& [key, value] : x.mapping()->entries()) {
    const Value& chosen = by == "key" ? key : value;
    items.emplace_back(bound.truth(0, false) ? chosen : ignore_case(chosen), Value::tuple({key, value}));
  }
  sort_keyed(items, bound.truth(2, false));
  return values_of(items);
}

template <bool largest>
Value extreme(const Value& x, Arguments& given) {
  Bound bound("min", given, {"case_sensitive", "attribute"});
  Getter get = getter(given_or(bound, 1, {}), !bound.truth(0, false));
  Iterator iterator(x);
  auto best = iterator.next();
  if (!best) return Value::undefined("No aggregated item, sequence was empty.");
  Value key = get(*best);
  while (auto next = iterator.next()) {
    Value other = get(*next);
    if (ordered(other, key, largest ? ">" : "<")) {
      key = other;
      best = next;
    }
  }
  return *best;
}

Value group_by(const Value& x, Arguments& given) {
  Bound bound("groupby", given, {"attribute", "default", "case_sensitive"}, 1);
  const bool fold = !bound.truth(2, false);
  Getter key = getter(*bound[0], fold, given_or(bound, 1, {})),
         shown = getter(*bound[0], false, given_or(bound, 1, {}));
  std::vector<Keyed> items;
  for (Value& value : items_of(x)) items.emplace_back(key(value), value);
  sort_keyed(items, false);
  std::vector<Value> groups;
  for (size_t begin = 0, end = 0; begin < items.size(); begin = end) {
    std::vector<Value> members;
    for (end = begin; end < items.size() && equal(items[end].first, items[begin].first); ++end) {
      members.push_back(items[end].second);
    }
    Value name = fold ? shown(members[0]) : items[begin].first;
    std::vector<Value> pair = {name, Value::list(std::move(members))};
    groups.emplace_back(std::make_shared<const Sequence>(Sequence::Kind::tuple, std::move(pair), kGroup));
  }
  return Value::list(std::move(groups));
}

Value unique(const Value& x, Arguments& given) {
  Bound bound("unique", given, {"case_sensitive", "attribute"});
  Getter get = getter(given_or(bound, 1, {}), !bound.truth(0, false));
  auto seen = std::make_shared<std::unordered_multimap<size_t, Value>>();
  auto source = std::make_shared<Iterator>(x);
  return Stream::of("generator", x, [=]() -> std::optional<Value> {
    while (auto item = source->next()) {
      Value key = get(*item);
      size_t hash = hash_of(key);
      auto [first, last] = seen->equal_range(hash);
      if (std::any_of(first, last, [&](const auto& entry) { return equal(entry.second, key); })) continue;
      seen->emplace(hash, key);
      return item;
    }
    return std::nullopt;
  });
}

// select, reject, selectattr, rejectattr. Nothing is asked of an empty or undefined subject, as in the
// original.
template <bool attribute, bool keep>
Value choose(const Value& x, Arguments& given) {
  if (!x.truth()) return Stream::of("generator", x, [] { return std::optional<Value>(); });
  std::vector<Value> positional = given.positional;
  Getter get;
  if (attribute) {
    if (positional.empty()) fail("Missing parameter for attribute name");
    get = getter(positional[0], false);
    positional.erase(positional.begin());
  }
  std::optional<std::string> test;
  if (!positional.empty()) {
    test = positional[0].str();
    positional.erase(positional.begin());
  }
  auto source = std::make_shared<Iterator>(x);
  return Stream::of("generator", x, [=, named = given.named]() -> std::optional<Value> {
    while (auto item = source->next()) {
      Value value = attribute ? get(*item) : *item;
      Arguments arguments{positional, named};
      if ((test ? call_test(*test, value, arguments) : value.truth()) == keep) return item;
    }
    return std::nullopt;
  });
}

Value map(const Value& x, Arguments& given) {
  if (!x.truth()) return Stream::of("generator", x, [] { return std::optional<Value>(); });
  Getter change;
  Arguments rest = given;
  if (auto attribute = given.positional.empty() ? rest.take("attribute") : std::nullopt) {
    change = getter(*attribute, false, rest.take("default"));
    if (!rest.named.empty()) fail("Unexpected keyword argument '" + rest.named[0].first + "'");
  } else {
    if (rest.positional.empty()) fail("map requires a filter argument");
    std::string name = rest.positional[0].str();
    rest.positional.erase(rest.positional.begin());
    change = [name, rest](const Value& value) {
      Arguments arguments = rest;
      return call_filter(name, value, arguments);
    };
  }
  auto source = std::make_shared<Iterator>(x);
  return Stream::of("generator", x, [=]() -> std::optional<Value> {
    auto item = source->next();
    if (!item) return std::nullopt;
    return change(*item);
  });
}

Value batch(const Value& x, Arguments& given) {
  Bound bound("batch", given, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.integer(0, 1);
  const Value fill = given_or(bound, 1, {});
  auto source = std::make_shared<Iterator>(x);
  return Stream::of("generator", x, [=]() -> std::optional<Value> {
    std::vector<Value> items;
    while (static_cast<int64_t>(items.size()) < std::max<int64_t>(size, 1)) {
      auto item = source->next();
      if (!item) break;
      items.push_back(*item);
    }
    if (items.empty()) return std::nullopt;
    for (; !fill.is_none() && static_cast<int64_t>(items.size()) < size; spend(64)) items.push_back(fill);
    return Value::list(std::move(items));
  });
}

Value slices(const Value& x, Arguments& given) {
  Bound bound("slice", given, {"slices", "fill_with"}, 1);
  const int64_t count = bound.integer(0, 1);
  if (count <= 0) fail("slice needs a positive number of slices");
  const Value fill = given_or(bound, 1, {});
  std::vector<Value> items = items_of(x), out;
  const auto length = static_cast<int64_t>(items.size());
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t size = length / count + (i < length % count);
    std::vector<Value> part(items.begin() + at, items.begin() + at + size);
    if (!fill.is_none() && i >= length % count) part.push_back(fill);
    out.push_back(Value::list(std::move(part)));
    at += size;
  }
  auto source = std::make_shared<Iterator>(Value::list(std::move(out)));
  return Stream::of("generator", x, [=] { return source->next(); });
}

Value items_filter(const Value& x, Arguments& given) {
  Bound("items", given, {});
  if (!x.is_undefined() && !x.mapping()) fail("Can only get item pairs from a mapping.");
  auto source = std::make_shared<Iterator>(x.mapping() ? method(x, "items")->object()->call({}) : x);
  return Stream::of("generator", x, [=] { return source->next(); });
}

Value reverse(const Value& x, Arguments& given) {
  Bound("reverse", given, {});
  if (x.text()) return slice(x, std::nullopt, std::nullopt, Value(-1));
  if (!Iterator::possible(x)) fail("argument must be iterable");
  std::vector<Value> items = items_of(x);
  std::reverse(items.begin(), items.end());
  if (x.stream()) return Value::list(std::move(items));
  auto source = std::make_shared<Iterator>(Value::list(std::move(items)));
  return Stream::of("reversed", x, [=] { return source->next(); });
}

Value first(const Value& x, Arguments& given) {
  Bound("first", given, {});
  auto item = Iterator(x).next();
  return item ? *item : Value::undefined("No first item, sequence was empty.");
}

Value last(const Value& x, Arguments& given) {
  Bound("last", given, {});
  if (x.stream() || !Iterator::possible(x)) fail("'" + x.type_name() + "' object is not reversible");
  std::vector<Value> items = items_of(x);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value length(const Value& x, Arguments& given) {
  Bound("length", given, {});
  auto length = length_of(x);
  if (!length) fail("object of type '" + x.type_name() + "' has no len()");
  return *length;
}

Value list(const Value& x, Arguments& given) {
  Bound("list", given, {});
  return Value::list(items_of(x));
}

Value join(const Value& x, Arguments& given) {
  Bound bound("join", given, {"d", "attribute"});
  const std::string joint = bound.given(0) ? bound[0]->str() : "";
  Getter get = getter(given_or(bound, 1, {}), false);
  std::string out;
  Iterator iterator(x);
  for (bool start = true; auto item = iterator.next(); start = false) {
    std::string piece = get(*item).str();
    if (out.size() + joint.size() + piece.size() > out.capacity())
      reserve(2, out.size() + joint.size() + piece.size());
    if (!start) out += joint;
    out += piece;
  }
  return out;
}

Value sum(const Value& x, Arguments& given) {
  Bound bound("sum", given, {"attribute", "start"});
  Value total = given_or(bound, 1, 0);
  if (total.text()) fail("sum() can't sum strings [use ''.join(seq) instead]");
  Getter get = getter(given_or(bound, 0, {}), false);
  Iterator iterator(x);
  while (auto item = iterator.next()) total = add(total, get(*item));
  return total;
}

Value or_default(const Value& x, Arguments& given) {
  Bound bound("default", given, {"default_value", "boolean"});
  if (x.is_undefined() || (bound.truth(1, false) && !x.truth())) return given_or(bound, 0, "");
  return x;
}

// Only attributes, never items.
Value attr(const Value& x, Arguments& given) {
  const std::string name = Bound("attr", given, {"name"}, 1).text(0, "");
  if (x.is_undefined()) fail_undefined(x);
  if (x.mapping() && x.mapping()->find(Value(name)) && !method(x, name)) {
    return Value::undefined("'dict object' has no attribute " + quote(name));
  }
  return attribute(x, name);
}

}  // namespace

const BuiltinTable& sequence_filters() {
  static const BuiltinTable table = {{"attr", attr},
                                     {"batch", batch},
                                     {"count", length},
                                     {"d", or_default},
                                     {"default", or_default},
                                     {"dictsort", dict_sort},
                                     {"first", first},
                                     {"groupby", group_by},
                                     {"items", items_filter},
                                     {"join", join},
                                     {"last", last},
                                     {"length", length},
                                     {"list", list},
                                     {"map", map},
                                     {"max", extreme<true>},
                                     {"min", extreme<false>},
                                     {"reject", choose<false, false>},
                                     {"rejectattr", choose<true, false>},
                                     {"reverse", reverse},
                                     {"select", choose<false, true>},
                                     {"selectattr", choose<true, true>},
                                     {"slice", slices},
                                     {"sort", sort},
                                     {"sum", sum},
                                     {"unique", unique}};
  return table;
}

}  // namespace mneme::jinja
