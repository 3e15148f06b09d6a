#include "model/config_reader.h"

#include <cmath>

#include "base/error.h"

namespace mneme {

ConfigReader::ConfigReader(const nlohmann::json& json) : json_(json) {
  if (!json.is_object())
    throw Error(Kind::input, "config.json: expected an object, found " + std::string(json.type_name()));
}

void ConfigReader::wrong(const char* key, const std::string& expected) const {
  const std::string found = has(key) ? json_.at(key).dump() : "nothing";
  throw Error(Kind::input, std::string("config.json: ") + key + ": expected " + expected + ", found " +
                               (found.size() > 60 ? found.substr(0, 60) + "..." : found));
}

bool ConfigReader::has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

std::string ConfigReader::text(const char* key) const {
  if (!has(key) || !json_.at(key).is_string()) wrong(key, "a string");
  return json_.at(key).get<std::string>();
}

int64_t ConfigReader::positive(const char* key) const {
  if (!has(key) || !json_.at(key).is_number_integer() || json_.at(key).get<int64_t>() <= 0) {
    wrong(key, "a positive integer");
  }
  return json_.at(key).get<int64_t>();
}

int64_t ConfigReader::positive_or(const char* key, int64_t otherwise) const {
  return has(key) ? positive(key) : otherwise;
}

double ConfigReader::number_or(const char* key, double otherwise) const {
  if (!has(key)) return otherwise;
  if (!json_.at(key).is_number() || !std::isfinite(json_.at(key).get<double>())) wrong(key, "a number");
  return json_.at(key).get<double>();
}

bool ConfigReader::flag_or(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!json_.at(key).is_boolean()) wrong(key, "true or false");
  return json_.at(key).get<bool>();
}

std::string ConfigReader::one_of(const char* key, const char* otherwise,
                                 std::initializer_list<const char*> allowed) const {
  const std::string value = has(key) ? text(key) : otherwise;
  std::string names;
  for (const char* a : allowed) {
    if (value == a) return value;
    names += (names.empty() ? "" : " or ") + std::string(a);
  }
  wrong(key, names);
}

void ConfigReader::require(bool condition, const char* key, const std::string& expected) const {
  if (!condition) wrong(key, expected);
}

void ConfigReader::rotary(ModelConfig& c, int64_t rotary_width) const {
  c.rotary = {};
  c.rotary.theta = number_or("rope_theta", 10000.0);
  c.rotary.width = rotary_width;
  require(rotary_width > 0 && rotary_width % 2 == 0 && rotary_width <= c.head_width, "head_dim",
          "an even rotary width of at most the head's width");
  // Newer configs put theta and the scaling together under rope_parameters.
  const char* key = has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!has(key)) return;
  const nlohmann::json& inner = json_.at(key);
  const ConfigReader scaling(inner);
  c.rotary.theta = scaling.number_or("rope_theta", c.rotary.theta);
  const std::string kind = scaling.has("rope_type") ? scaling.text("rope_type")
                           : scaling.has("type")    ? scaling.text("type")
                                                    : "default";
  if (kind == "default") return;
  c.rotary.factor = scaling.number_or("factor", 1.0);
  scaling.require(c.rotary.factor >= 1.0, "factor", "a number of at least 1");
  if (kind == "linear") {
    c.rotary.scaling = RotaryScaling::linear;
  } else if (kind == "dynamic") {
    c.rotary.scaling = RotaryScaling::dynamic;
    c.rotary.original_length = c.max_positions;
  } else if (kind == "llama3") {
    c.rotary.scaling = RotaryScaling::llama3;
    c.rotary.low_freq_factor = scaling.number_or("low_freq_factor", 1.0);
    c.rotary.high_freq_factor = scaling.number_or("high_freq_factor", 4.0);
    c.rotary.original_length = scaling.positive("original_max_position_embeddings");
  } else {
    wrong(key, "a rope_type of default, linear, dynamic or llama3");
  }
}

void ConfigReader::token_ids(ModelConfig& c) const {
  const auto id = [&](const char* key) -> int64_t {
    if (!has(key)) return -1;
    if (!json_.at(key).is_number_integer()) wrong(key, "a token id");
    return json_.at(key).get<int64_t>();
  };
  c.bos = id("bos_token_id");
  c.pad = id("pad_token_id");
  if (has("eos_token_id") && json_.at("eos_token_id").is_array()) {
    for (const auto& e : json_.at("eos_token_id")) {
      if (!e.is_number_integer()) wrong("eos_token_id", "a token id or a list of them");
      c.eos.push_back(e.get<int64_t>());
    }
  } else if (const int64_t e = id("eos_token_id"); e >= 0) {
    c.eos.push_back(e);
  }
}

void ConfigReader::limits(const ModelConfig& c) const {
  constexpr int64_t kWide = int64_t{1} << 20;
  require(c.vocab <= (int64_t{1} << 24), "vocab_size", "at most 2^24");
  const bool sane = c.width <= kWide && c.embed_width <= kWide && c.inner <= (kWide << 3) &&
                    c.layers <= 4096 && c.heads <= 8192 && c.head_width <= 8192 &&
                    c.max_positions <= (int64_t{1} << 28);
  if (!sane)
    throw Error(Kind::input, "config.json: a size is larger than any known model's",
                "check the widths and layer counts");
}

}  // namespace mneme
