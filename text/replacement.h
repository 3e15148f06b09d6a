// "Replace" of tokenizer.json, shared by normalizers and decoders: every match of a string or a regular
// expression becomes a fixed text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "text/regex.h"

namespace mneme {

class Replacement {
 public:
  Replacement(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  static Replacement from_json(const nlohmann::json& config, const std::string& where);

  // `front_lost`, when given, is set if the replaced text stood in front and nothing took its place.
  void apply(std::string& text, bool* front_lost) const;
  bool is_regex() const { return regex_.has_value(); }
  const std::string& from() const { return from_; }  // the string; empty for a regular expression

 private:
  void apply_regex(std::string& text, bool* front_lost) const;
  std::string from_, to_;
  std::optional<TextRegex> regex_;
};

}  // namespace mneme
