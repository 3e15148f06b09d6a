// JSON that others wrote, read with names: what was expected, found, and at which path ("config.json:
// rope.theta"). All failures are Error{input}. For our own options see base/options.h.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

// Refuses what is no JSON, is nested deeper than `depth` (recursive code follows), or has more than one
// value.
nlohmann::json parse_json(std::string_view text, const std::string& name, int depth = 128);
nlohmann::json read_json(const std::string& path, uint64_t limit = uint64_t{1} << 30);
std::string dump_json(const nlohmann::json& json, int indent = -1);  // bytes that are no UTF-8 become U+FFFD

// A view of a JSON object; the value must outlive it. With a fallback, absent and null give the fallback;
// without, they are errors. A value of another type is always an error.
class JsonReader {
 public:
  JsonReader(const nlohmann::json& object, std::string name);

  bool has(std::string_view key) const { return find(key) != nullptr; }  // there and not null
  const nlohmann::json* find(std::string_view key) const;                // nullptr when absent or null
  const nlohmann::json& at(std::string_view key) const;
  JsonReader object(std::string_view key) const;
  std::optional<JsonReader> object_if(std::string_view key) const;

  int64_t integer(std::string_view key) const;
  int64_t integer(std::string_view key, int64_t fallback) const;
  // An integer between two bounds: sizes must be checked before something is allocated with them.
  int64_t integer_in(std::string_view key, int64_t low, int64_t high) const;
  int64_t integer_in(std::string_view key, int64_t low, int64_t high, int64_t fallback) const;
  double number(std::string_view key) const;  // finite
  double number(std::string_view key, double fallback) const;
  bool boolean(std::string_view key) const;
  bool boolean(std::string_view key, bool fallback) const;
  std::string string(std::string_view key) const;
  std::string string(std::string_view key, std::string_view fallback) const;
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  std::vector<std::string> strings(std::string_view key) const;

  const nlohmann::json& json() const { return *json_; }
  const std::string& name() const { return name_; }
  std::string path(std::string_view key) const;  // "config.json: rope.theta"
  [[noreturn]] void fail(std::string_view key, const std::string& expected) const;

 private:
  JsonReader(const nlohmann::json& object, std::string name, std::string prefix);
  const nlohmann::json* json_;
  std::string name_, prefix_;
};

}  // namespace mneme
