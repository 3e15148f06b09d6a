// How the parts of base/options share values: a value apart from its struct, and the conversions into it.
// Not for other folders.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/options.h"

namespace mneme::options_internal {

using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                           std::vector<std::string>, std::optional<int64_t>, std::optional<double>>;

// A key with its value as a file gave it; `where` is "run.toml:12:3".
struct Leaf {
  std::string key;
  nlohmann::json value;
  std::string where;
};

// Assignments that are made together, once all of them are valid.
class Assignments {
 public:
  void set(const Option& option, Value value);           // replaces
  void append(const Option& option, const Value& more);  // lists grow
  bool has(const Option& option) const;
  bool is_empty(const Option& option) const;  // of strings and lists: after commit
  void commit() const;
  void keys(std::set<std::string>& into) const;

 private:
  std::vector<std::pair<const Option*, Value>> values_;
};

bool is_list(const Option& option);
bool is_bool(const Option& option);
std::string expected(const Option& option);  // "an integer", "one of a, b"
Value value_of_text(const Option& option, std::string_view text, const std::string& where);
Value value_of_json(const Option& option, const nlohmann::json& json, const std::string& where, Kind kind);
Value value_now(const Option& option);
std::string text_of(const Value& value);  // as a flag would take it
nlohmann::json json_of(const Value& value);

std::vector<Leaf> leaves_of_toml(std::string_view text, const std::string& name, const OptionTable& table);
void collect(const OptionTable& table, const std::vector<Leaf>& leaves, Kind kind, Assignments& into);
[[noreturn]] void unknown_key(const OptionTable& table, const std::string& key, const std::string& what,
                              Kind kind, const std::string& prefix, const std::string& more);
std::string flag_of(std::string_view key);  // "save_every" -> "--save-every"

}  // namespace mneme::options_internal
