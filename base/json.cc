#include "base/json.h"

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

// Brackets that are open at once, outside of strings. Exact for JSON; for other text the parser refuses it
// anyway.
int depth_of(std::string_view text) {
  int now = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++now > most) most = now;
    } else if (c == ']' || c == '}') {
      --now;
    }
  }
  return most;
}

std::string found(const nlohmann::json& json) {
  if (json.is_structured()) return json.is_array() ? "a list" : "an object";
  std::string text = dump_json(json);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

bool is_integer(const nlohmann::json& v) {
  return v.is_number_integer() && !(v.is_number_unsigned() && v.get<uint64_t>() > INT64_MAX);
}

bool is_number(const nlohmann::json& v) { return v.is_number() && std::isfinite(v.get<double>()); }

template <class T, class Is>
std::vector<T> list(const JsonReader& reader, std::string_view key, const Is& is, const char* expected) {
  const nlohmann::json& value = reader.at(key);
  if (!value.is_array()) reader.fail(key, expected);
  std::vector<T> out;
  for (const auto& item : value) {
    if (!is(item)) reader.fail(key, expected);
    out.push_back(item.get<T>());
  }
  return out;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& name, int depth) {
  if (depth_of(text) > depth) {
    throw Error(Kind::input,
                name + ": expected JSON nested at most " + std::to_string(depth) + " deep, found more");
  }
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::exception& e) {
    std::string what = e.what();
    if (const size_t end = what.find("] "); end != std::string::npos) what = what.substr(end + 2);
    throw Error(Kind::input, name + ": expected JSON: " + what);
  }
}

nlohmann::json read_json(const std::string& path, uint64_t limit) {
  return parse_json(read_file(path, limit), path);
}

std::string dump_json(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

JsonReader::JsonReader(const nlohmann::json& object, std::string name)
    : JsonReader(object, std::move(name), "") {}

JsonReader::JsonReader(const nlohmann::json& object, std::string name, std::string prefix)
    : json_(&object), name_(std::move(name)), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    const std::string where = prefix_.empty() ? name_ : name_ + ": " + prefix_.substr(0, prefix_.size() - 1);
    throw Error(Kind::input, where + ": expected a JSON object, found " + found(object));
  }
}

const nlohmann::json* JsonReader::find(std::string_view key) const {
  const auto it = json_->find(std::string(key));
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

const nlohmann::json& JsonReader::at(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (!value) throw Error(Kind::input, path(key) + " is missing");
  return *value;
}

std::string JsonReader::path(std::string_view key) const { return name_ + ": " + prefix_ + std::string(key); }

void JsonReader::fail(std::string_view key, const std::string& expected) const {
  throw Error(Kind::input, path(key) + ": expected " + expected + ", found " + found(at(key)));
}

JsonReader JsonReader::object(std::string_view key) const {
  return JsonReader(at(key), name_, prefix_ + std::string(key) + ".");
}

std::optional<JsonReader> JsonReader::object_if(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return object(key);
}

int64_t JsonReader::integer(std::string_view key) const {
  const nlohmann::json& value = at(key);
  if (!is_integer(value)) fail(key, "an integer");
  return value.get<int64_t>();
}

int64_t JsonReader::integer(std::string_view key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

int64_t JsonReader::integer_in(std::string_view key, int64_t low, int64_t high) const {
  const nlohmann::json& value = at(key);
  if (!is_integer(value) || value.get<int64_t>() < low || value.get<int64_t>() > high) {
    fail(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value.get<int64_t>();
}

int64_t JsonReader::integer_in(std::string_view key, int64_t low, int64_t high, int64_t fallback) const {
  return has(key) ? integer_in(key, low, high) : fallback;
}

double JsonReader::number(std::string_view key) const {
  const nlohmann::json& value = at(key);
  if (!is_number(value)) fail(key, "a finite number");
  return value.get<double>();
}

double JsonReader::number(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool JsonReader::boolean(std::string_view key) const {
  const nlohmann::json& value = at(key);
  if (!value.is_boolean()) fail(key, "true or false");
  return value.get<bool>();
}

bool JsonReader::boolean(std::string_view key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::string JsonReader::string(std::string_view key) const {
  const nlohmann::json& value = at(key);
  if (!value.is_string()) fail(key, "a string");
  return value.get<std::string>();
}

std::string JsonReader::string(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : std::string(fallback);
}

std::vector<int64_t> JsonReader::integers(std::string_view key) const {
  return list<int64_t>(*this, key, is_integer, "a list of integers");
}

std::vector<double> JsonReader::numbers(std::string_view key) const {
  return list<double>(*this, key, is_number, "a list of finite numbers");
}

std::vector<std::string> JsonReader::strings(std::string_view key) const {
  return list<std::string>(
      *this, key, [](const nlohmann::json& v) { return v.is_string(); }, "a list of strings");
}

}  // namespace mneme
