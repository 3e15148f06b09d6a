#include "base/error.h"
#include "base/json.h"
#include "io/adapter.h"
#include "io/gguf_config.h"
#include "io/gguf_vocab.h"

// JSON files of models: adapter_config.json, config.json, tokenizer.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  nlohmann::json json;
  const auto attempt = [](auto call) {
    try {
      call();
    } catch (const Error& e) {
      if (e.kind() == Kind::failure) __builtin_trap();
    }
  };
  attempt([&] { json = parse_json({reinterpret_cast<const char*>(data), size}, "input"); });
  attempt([&] {
    const AdapterConfig config = AdapterConfig::parse(json, "input");
    if (AdapterConfig::parse(config.to_json(), "again").to_json() != config.to_json()) __builtin_trap();
    for (const std::string& name : config.target_modules) parse_peft_name(name);
    for (const auto& [pattern, rank] : config.rank_pattern)
      peft_pattern_matches(pattern, "model.layers.0.self_attn.q_proj");
  });
  attempt([&] { gguf_settings_of(json); });
  attempt([&] { rope_factors_of(json); });
  attempt([&] { heads_of(json); });
  attempt([&] { gguf_tokens(json, "input", 600); });
  return 0;
}
