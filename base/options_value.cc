#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/options_internal.h"

namespace mneme::options_internal {
namespace {

template <class T>
constexpr bool is_vector = false;
template <class T>
constexpr bool is_vector<std::vector<T>> = true;
template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;

template <class T>
std::string name_of() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "a list of integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "a list of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of strings";
  if constexpr (std::is_same_v<T, std::optional<int64_t>>) return "an integer or none";
  if constexpr (std::is_same_v<T, std::optional<double>>) return "a number or none";
}

template <class F>
decltype(auto) with_type(const Option& option, F&& f) {
  return std::visit([&](auto* p) { return f(static_cast<std::remove_pointer_t<decltype(p)>*>(nullptr)); },
                    option.target);
}

template <class T>
bool parse(std::string_view text, T& out) {
  if constexpr (std::is_same_v<T, std::string>) {
    out = text;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    out = text == "true";
    return out || text == "false";
  } else {
    if (!text.empty() && text[0] == '+') text.remove_prefix(1);
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(out)) return false;
    }
    return ec == std::errc() && end == text.data() + text.size() && !text.empty();
  }
}

// "a,b\,c" -> "a", "b,c". The empty text is the empty list.
std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  parts.emplace_back();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[++i];
    } else if (text[i] == ',') {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

std::string shorten(std::string text) {
  if (text.size() > 60) {
    text.resize(57);
    text += "...";
  }
  return text;
}

[[noreturn]] void mismatch(const Option& option, const std::string& found, const std::string& where,
                           Kind kind) {
  std::string hint;
  if (!option.allowed.empty()) hint = "the nearest is " + nearest(found, option.allowed);
  throw Error(kind, where + ": expected " + expected(option) + ", found '" + shorten(found) + "'", hint);
}

bool is_allowed(const Option& option, const std::string& text) {
  if (option.allowed.empty()) return true;
  for (const std::string& a : option.allowed) {
    if (a == text) return true;
  }
  return false;
}

template <class T>
bool parse_json(const nlohmann::json& json, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (json.is_boolean()) out = json.get<bool>();
    return json.is_boolean();
  } else if constexpr (std::is_same_v<T, int64_t>) {
    if (!json.is_number_integer()) return false;
    if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) return false;
    out = json.get<int64_t>();
    return true;
  } else if constexpr (std::is_same_v<T, double>) {
    if (!json.is_number()) return false;
    out = json.get<double>();
    return std::isfinite(out);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (json.is_string()) out = json.get<std::string>();
    return json.is_string();
  } else if constexpr (is_optional<T>) {
    if (json.is_null() || (json.is_string() && json.get<std::string>() == "none")) {
      out.reset();
      return true;
    }
    return parse_json(json, out.emplace());
  } else {
    if (!json.is_array()) return false;
    for (const auto& item : json) {
      if (!parse_json(item, out.emplace_back())) return false;
    }
    return true;
  }
}

}  // namespace

void Assignments::set(const Option& option, Value value) {
  for (auto& [o, v] : values_) {
    if (o == &option) {
      v = std::move(value);
      return;
    }
  }
  values_.emplace_back(&option, std::move(value));
}

void Assignments::append(const Option& option, const Value& more) {
  for (auto& [o, v] : values_) {
    if (o != &option) continue;
    std::visit(
        [&](auto& list) {
          using T = std::decay_t<decltype(list)>;
          if constexpr (is_vector<T>) {
            const T& tail = std::get<T>(more);
            list.insert(list.end(), tail.begin(), tail.end());
          }
        },
        v);
    return;
  }
  values_.emplace_back(&option, more);
}

bool Assignments::has(const Option& option) const {
  for (const auto& entry : values_) {
    if (entry.first == &option) return true;
  }
  return false;
}

bool Assignments::is_empty(const Option& option) const {
  Value value = value_now(option);
  for (const auto& [o, v] : values_) {
    if (o == &option) value = v;
  }
  return std::visit(
      [](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::string> || is_vector<T>) return v.empty();
        return false;
      },
      value);
}

void Assignments::commit() const {
  for (const auto& [option, value] : values_) {
    std::visit([&, &v = value](auto* p) { *p = std::get<std::remove_pointer_t<decltype(p)>>(v); },
               option->target);
  }
}

void Assignments::keys(std::set<std::string>& into) const {
  for (const auto& entry : values_) into.insert(entry.first->key);
}

bool is_list(const Option& option) {
  return with_type(option, [](auto* p) { return is_vector<std::remove_pointer_t<decltype(p)>>; });
}

bool is_bool(const Option& option) { return std::holds_alternative<bool*>(option.target); }

std::string expected(const Option& option) {
  if (option.allowed.empty()) {
    return with_type(option, [](auto* p) { return name_of<std::remove_pointer_t<decltype(p)>>(); });
  }
  std::string out = "one of ";
  for (size_t i = 0; i < option.allowed.size(); ++i) out += (i ? ", " : "") + option.allowed[i];
  return out;
}

Value value_of_text(const Option& option, std::string_view text, const std::string& where) {
  const auto fail = [&] { mismatch(option, std::string(text), where, Kind::usage); };
  if (!is_allowed(option, std::string(text))) fail();
  return with_type(option, [&](auto* p) -> Value {
    using T = std::remove_pointer_t<decltype(p)>;
    T out{};
    if constexpr (is_vector<T>) {
      for (const std::string& part : split_list(text)) {
        typename T::value_type item{};
        if (!parse(part, item)) fail();
        out.push_back(std::move(item));
      }
    } else if constexpr (is_optional<T>) {
      if (text != "none" && !parse(text, out.emplace())) fail();
    } else {
      if (!parse(text, out)) fail();
    }
    return out;
  });
}

Value value_of_json(const Option& option, const nlohmann::json& json, const std::string& where, Kind kind) {
  return with_type(option, [&](auto* p) -> Value {
    using T = std::remove_pointer_t<decltype(p)>;
    T out{};
    bool ok = parse_json(json, out);
    if constexpr (std::is_same_v<T, std::string>) ok = ok && is_allowed(option, out);
    if (!ok) {
      const auto text = json.is_string()
                            ? json.get<std::string>()
                            : json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      mismatch(option, text, where, kind);
    }
    return out;
  });
}

Value value_now(const Option& option) {
  return std::visit([](auto* p) -> Value { return *p; }, option.target);
}

nlohmann::json json_of(const Value& value) {
  return std::visit(
      [](const auto& v) -> nlohmann::json {
        if constexpr (is_optional<std::decay_t<decltype(v)>>) {
          return v ? nlohmann::json(*v) : nlohmann::json();
        } else {
          return v;
        }
      },
      value);
}

std::string text_of(const Value& value) {
  const auto plain = [](const nlohmann::json& j) {
    return j.is_string() ? j.get<std::string>() : j.is_null() ? "none" : j.dump();
  };
  const nlohmann::json json = json_of(value);
  if (!json.is_array()) return plain(json);
  std::string out;
  for (const auto& item : json) out += (out.empty() ? "" : ",") + plain(item);
  return out;
}

std::string flag_of(std::string_view key) {
  std::string out = "--";
  for (const char c : key) out += c == '_' ? '-' : c;
  return out;
}

}  // namespace mneme::options_internal
