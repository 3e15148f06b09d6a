// Typed reading of a config.json, with errors that name the key, what was expected and what stands there.
#pragma once

#include <initializer_list>
#include <string>

#include "model/config.h"

namespace mneme {

class ConfigReader {
 public:
  explicit ConfigReader(const nlohmann::json& json);

  bool has(const char* key) const;  // there and not null
  std::string text(const char* key) const;
  int64_t positive(const char* key) const;
  int64_t positive_or(const char* key, int64_t otherwise) const;  // absent, null: otherwise
  double number_or(const char* key, double otherwise) const;
  bool flag_or(const char* key, bool otherwise) const;
  std::string one_of(const char* key, const char* otherwise,
                     std::initializer_list<const char*> allowed) const;
  void require(bool condition, const char* key, const std::string& expected) const;

  void rotary(ModelConfig& c, int64_t rotary_width) const;  // rope_theta, rope_scaling, rope_parameters
  void token_ids(ModelConfig& c) const;                     // bos, eos (one or a list), pad
  void limits(const ModelConfig& c) const;                  // refuses sizes that no machine could hold

 private:
  [[noreturn]] void wrong(const char* key, const std::string& expected) const;
  const nlohmann::json& json_;
};

}  // namespace mneme
