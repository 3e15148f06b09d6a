// The methods of str, dict, list, tuple and numbers.
#include <algorithm>
#include <cmath>
#include <map>

#include "text/jinja_arguments.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_strings.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

const std::string& bytes_of(const Value& self) { return self.text()->bytes; }
Value like(const Value& self, std::string text) { return {std::move(text), self.text()->markup}; }

std::optional<std::string> optional_text(const Bound& bound, size_t i) {
  if (!bound.given(i) || bound[i]->is_none()) return std::nullopt;
  return bound.text(i, "");
}

Value texts(const Value& self, const std::vector<std::string>& parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string& part : parts) items.push_back(like(self, part));
  return Value::list(std::move(items));
}

template <std::string (*change)(std::string_view)>
Value changed(const Value& self, Arguments& given) {
  Bound("str", given, {});
  spend(bytes_of(self).size() * 8);
  return like(self, change(bytes_of(self)));
}

template <bool (*holds)(uint32_t), bool empty>
Value every(const Value& self, Arguments& given) {
  Bound("str", given, {});
  spend(bytes_of(self).size() * 8);
  std::vector<uint32_t> points = points_of(bytes_of(self));
  return points.empty() ? empty : std::all_of(points.begin(), points.end(), holds);
}

bool below_128(uint32_t point) { return point < 128; }

// islower and isupper: at least one cased point, and none of the other case.
template <bool (*wanted)(uint32_t)>
Value is_case(const Value& self, Arguments& given) {
  Bound("str", given, {});
  spend(bytes_of(self).size() * 8);
  bool any = false;
  for (uint32_t point : points_of(bytes_of(self))) {
    if (wanted(point)) {
      any = true;
    } else if (is_cased(point)) {
      return false;
    }
  }
  return any;
}

Value is_titled(const Value& self, Arguments& given) {
  Bound("istitle", given, {});
  bool any = false, inside = false;
  for (uint32_t point : points_of(bytes_of(self))) {
    if ((is_upper(point) || is_title(point)) ? inside : is_lower(point) && !inside) return false;
    inside = is_cased(point);
    any = any || inside;
  }
  return any;
}

Value is_identifier(const Value& self, Arguments& given) {
  Bound("isidentifier", given, {});
  std::vector<uint32_t> points = points_of(bytes_of(self));
  if (points.empty() || (points[0] != '_' && !is_alpha(points[0]))) return false;
  return std::all_of(points.begin(), points.end(), is_word);
}

template <char sides>
Value stripped(const Value& self, Arguments& given) {
  Bound bound("strip", given, {"chars"});
  std::string_view which = sides == 'b' ? "lr" : sides == 'l' ? "l" : "r";
  return like(self, strip(bytes_of(self), optional_text(bound, 0), which));
}

Value split_method(const Value& self, Arguments& given) {
  Bound bound("split", given, {"sep", "maxsplit"});
  return texts(self, split(bytes_of(self), optional_text(bound, 0), bound.integer(1, -1)));
}

Value rsplit_method(const Value& self, Arguments& given) {
  Bound bound("rsplit", given, {"sep", "maxsplit"});
  return texts(self, split_right(bytes_of(self), optional_text(bound, 0), bound.integer(1, -1)));
}

Value splitlines_method(const Value& self, Arguments& given) {
  Bound bound("splitlines", given, {"keepends"});
  return texts(self, split_lines(bytes_of(self), bound.integer(0, 0) != 0));
}

template <bool right>
Value partition(const Value& self, Arguments& given) {
  std::string separator = Bound("partition", given, {"sep"}, 1).text(0, "");
  if (separator.empty()) fail("empty separator");
  const std::string& text = bytes_of(self);
  spend(text.size());
  size_t at = right ? find_last(text, separator) : find_bytes(text, separator, 0);
  if (at == std::string::npos) {
    Value whole = like(self, text), none = like(self, "");
    return Value::tuple(right ? std::vector<Value>{none, none, whole}
                              : std::vector<Value>{whole, none, none});
  }
  return Value::tuple({like(self, text.substr(0, at)), like(self, separator),
                       like(self, text.substr(at + separator.size()))});
}

// The byte range of [start, end), both in code points as Python counts them; nothing if start lies past the
// end.
std::optional<std::pair<size_t, size_t>> range_of(const std::string& text, const Bound& bound, size_t first) {
  const int64_t length = count_points(text);
  auto at = [&](size_t i, int64_t otherwise) {
    int64_t index = bound.given(i) && !bound[i]->is_none() ? bound.integer(i, 0) : otherwise;
    return std::max<int64_t>(index < 0 ? std::max(index, -length) + length : index, 0);
  };
  int64_t start = at(first, 0), stop = std::min(at(first + 1, length), length);
  if (start > stop) return std::nullopt;
  return std::pair(offset_of(text, start), offset_of(text, stop));
}

enum class Search { find, index, rfind, rindex };

template <Search how>
Value find_method(const Value& self, Arguments& given) {
  constexpr bool right = how == Search::rfind || how == Search::rindex;
  Bound bound("find", given, {"sub", "start", "end"}, 1);
  const std::string part = bound.text(0, ""), &text = bytes_of(self);
  spend(text.size() + part.size());
  if (auto range = range_of(text, bound, 1)) {
    std::string_view inside = std::string_view(text).substr(0, range->second).substr(range->first);
    size_t at = right ? find_last(inside, part) : find_bytes(inside, part, 0);
    if (at != std::string::npos) return count_points(std::string_view(text).substr(0, range->first + at));
  }
  if (how == Search::index || how == Search::rindex) fail("substring not found");
  return -1;
}

Value count_method(const Value& self, Arguments& given) {
  Bound bound("count", given, {"sub", "start", "end"}, 1);
  const std::string part = bound.text(0, ""), &text = bytes_of(self);
  spend(text.size() + part.size());
  auto range = range_of(text, bound, 1);
  if (!range) return 0;
  std::string_view inside = std::string_view(text).substr(0, range->second).substr(range->first);
  if (part.empty()) return count_points(inside) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = find_bytes(inside, part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

template <bool end>
Value affix(const Value& self, Arguments& given) {
  Bound bound(end ? "endswith" : "startswith", given, {"prefix", "start", "end"}, 1);
  auto range = range_of(bytes_of(self), bound, 1);
  auto test = [&](const Value& part) {
    if (part.is_undefined()) fail_undefined(part);
    if (!part.text()) fail("startswith first arg must be str or a tuple of str, not " + part.type_name());
    spend(part.text()->bytes.size());
    if (!range) return false;
    std::string_view inside = std::string_view(bytes_of(self)).substr(0, range->second).substr(range->first);
    return end ? inside.ends_with(part.text()->bytes) : inside.starts_with(part.text()->bytes);
  };
  const Sequence* many = bound[0]->sequence();
  if (!many || many->kind != Sequence::Kind::tuple) return test(*bound[0]);
  return std::any_of(many->items.begin(), many->items.end(), test);
}

template <bool end>
Value remove_affix(const Value& self, Arguments& given) {
  std::string part = Bound("removeprefix", given, {"prefix"}, 1).text(0, "");
  std::string_view text = bytes_of(self);
  if (!(end ? text.ends_with(part) : text.starts_with(part))) return self;
  return like(self, std::string(end ? text.substr(0, text.size() - part.size()) : text.substr(part.size())));
}

Value replace_method(const Value& self, Arguments& given) {
  Bound bound("replace", given, {"old", "new", "count"}, 2);
  std::string to = bound.text(1, "");
  if (self.text()->markup && !bound[1]->text()->markup) to = escape_html(to);
  return like(self, replace(bytes_of(self), bound.text(0, ""), to, bound.integer(2, -1)));
}

Value join_method(const Value& self, Arguments& given) {
  Bound bound("join", given, {"iterable"}, 1);
  std::string out;
  Iterator iterator(*bound[0]);
  size_t index = 0;
  for (; auto item = iterator.next(); ++index) {
    const Text* text = item->text();
    if (!text && !self.text()->markup) {
      fail("sequence item " + std::to_string(index) + ": expected str instance, " + item->type_name() +
           " found");
    }
    if (index) out += bytes_of(self);
    out += self.text()->markup && !(text && text->markup) ? escape_html(item->str()) : item->str();
    reserve(1, out.size() / 16);
  }
  return like(self, std::move(out));
}

template <char align>
Value justify(const Value& self, Arguments& given) {
  Bound bound("center", given, {"width", "fillchar"}, 1);
  const int64_t width = bound.integer(0, 0), missing = width - count_points(bytes_of(self));
  std::string fill = bound.text(1, " ");
  if (count_points(fill) != 1) fail("The fill character must be exactly one character long");
  if (missing <= 0) return self;
  reserve(static_cast<size_t>(missing), fill.size());
  // Python's odd rounding of center: the extra one goes left if the width is odd.
  int64_t left = align == '>' ? missing : align == '<' ? 0 : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < missing; ++i) {
    if (i == left) out += bytes_of(self);
    out += fill;
  }
  return like(self, left == missing ? out + bytes_of(self) : out);
}

Value zfill(const Value& self, Arguments& given) {
  int64_t missing = Bound("zfill", given, {"width"}, 1).integer(0, 0) - count_points(bytes_of(self));
  if (missing <= 0) return self;
  reserve(1, static_cast<size_t>(missing));
  std::string out = bytes_of(self);
  out.insert(!out.empty() && (out[0] == '+' || out[0] == '-') ? 1 : 0, static_cast<size_t>(missing), '0');
  return like(self, std::move(out));
}

Value expandtabs_method(const Value& self, Arguments& given) {
  return like(self, expand_tabs(bytes_of(self), Bound("expandtabs", given, {"tabsize"}).integer(0, 8)));
}

Value format_method(const Value& self, Arguments& given) { return format_braces(self, given); }

Value format_map(const Value& self, Arguments& given) {
  Bound bound("format_map", given, {"mapping"}, 1);
  if (!bound[0]->mapping()) fail("format_map() needs a mapping, not " + bound[0]->type_name());
  Arguments named;
  for (const auto& [key, value] : bound[0]->mapping()->entries()) named.named.emplace_back(key.str(), value);
  return format_braces(self, named);
}

Value view(const Value& self, Sequence::Kind kind) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.mapping()->entries()) {
    items.push_back(kind == Sequence::Kind::keys     ? key
                    : kind == Sequence::Kind::values ? value
                                                     : Value::tuple({key, value}));
  }
  return std::make_shared<const Sequence>(kind, std::move(items));
}

template <Sequence::Kind kind>
Value view_method(const Value& self, Arguments& given) {
  Bound("dict", given, {});
  return view(self, kind);
}

Value get_method(const Value& self, Arguments& given) {
  if (!given.named.empty()) fail("dict.get() takes no keyword arguments");
  Bound bound("get", given, {"key", "default"}, 1);
  if (const Value* found = self.mapping()->find(*bound[0])) return *found;
  return bound.given(1) ? *bound[1] : Value();
}

Value copy_method(const Value& self, Arguments& given) {
  Bound("copy", given, {});
  return self;
}

Value index_method(const Value& self, Arguments& given) {
  Bound bound("index", given, {"value", "start", "stop"}, 1);
  const auto& items = self.sequence()->items;
  const auto length = static_cast<int64_t>(items.size());
  auto clip = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + length : at, 0, length); };
  for (int64_t i = clip(std::max(bound.integer(1, 0), -length));
       i < clip(std::max(bound.integer(2, length), -length)); ++i) {
    if (equal(items[static_cast<size_t>(i)], *bound[0])) return i;
  }
  fail(bound[0]->repr() + " is not in " + self.type_name());
}

Value count_items(const Value& self, Arguments& given) {
  Bound bound("count", given, {"value"}, 1);
  const auto& items = self.sequence()->items;
  return static_cast<int64_t>(
      std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, *bound[0]); }));
}

Value is_integer(const Value& self, Arguments& given) {
  Bound("is_integer", given, {});
  return !self.real() || (std::isfinite(*self.real()) && std::floor(*self.real()) == *self.real());
}

Value bit_length(const Value& self, Arguments& given) {
  Bound("bit_length", given, {});
  int64_t value = *self.as_integer(), bits = 0;
  for (uint64_t left = value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value); left;
       left >>= 1)
    ++bits;
  return bits;
}

using Table = std::map<std::string_view, Builtin>;

const Table kText = {{"capitalize", changed<capitalize>},
                     {"casefold", changed<fold>},
                     {"center", justify<'^'>},
                     {"count", count_method},
                     {"endswith", affix<true>},
                     {"expandtabs", expandtabs_method},
                     {"find", find_method<Search::find>},
                     {"format", format_method},
                     {"format_map", format_map},
                     {"index", find_method<Search::index>},
                     {"isalnum", every<is_alnum, false>},
                     {"isalpha", every<is_alpha, false>},
                     {"isascii", every<below_128, true>},
                     {"isdecimal", every<is_decimal, false>},
                     {"isdigit", every<is_digit, false>},
                     {"isidentifier", is_identifier},
                     {"islower", is_case<is_lower>},
                     {"isnumeric", every<is_numeric, false>},
                     {"isprintable", every<is_printable, true>},
                     {"isspace", every<is_space, false>},
                     {"istitle", is_titled},
                     {"isupper", is_case<is_upper>},
                     {"join", join_method},
                     {"ljust", justify<'<'>},
                     {"lower", changed<lower>},
                     {"lstrip", stripped<'l'>},
                     {"partition", partition<false>},
                     {"removeprefix", remove_affix<false>},
                     {"removesuffix", remove_affix<true>},
                     {"replace", replace_method},
                     {"rfind", find_method<Search::rfind>},
                     {"rindex", find_method<Search::rindex>},
                     {"rjust", justify<'>'>},
                     {"rpartition", partition<true>},
                     {"rsplit", rsplit_method},
                     {"rstrip", stripped<'r'>},
                     {"split", split_method},
                     {"splitlines", splitlines_method},
                     {"startswith", affix<false>},
                     {"strip", stripped<'b'>},
                     {"swapcase", changed<swap_case>},
                     {"title", changed<title>},
                     {"upper", changed<upper>},
                     {"zfill", zfill}};
const Table kMapping = {{"copy", copy_method},
                        {"get", get_method},
                        {"items", view_method<Sequence::Kind::items>},
                        {"keys", view_method<Sequence::Kind::keys>},
                        {"values", view_method<Sequence::Kind::values>}};
const Table kList = {{"copy", copy_method}, {"count", count_items}, {"index", index_method}};
const Table kTuple = {{"count", count_items}, {"index", index_method}};
const Table kNumber = {{"is_integer", is_integer}, {"bit_length", bit_length}};

}  // namespace

std::optional<Value> method(const Value& self, std::string_view name) {
  const Sequence* sequence = self.sequence();
  const Table* table = self.text()                                                 ? &kText
                       : self.mapping()                                            ? &kMapping
                       : sequence && sequence->kind == Sequence::Kind::list        ? &kList
                       : sequence && sequence->kind <= Sequence::Kind::range       ? &kTuple
                       : self.real() || (name == "bit_length" && self.is_number()) ? &kNumber
                                                                                   : nullptr;
  if (!table || (self.real() && name == "bit_length")) return std::nullopt;
  auto found = table->find(name);
  if (found == table->end()) return std::nullopt;
  return Value(
      std::shared_ptr<Object>(std::make_shared<BuiltinFunction>(std::string(name), self, found->second)));
}

}  // namespace mneme::jinja
