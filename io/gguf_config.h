// The hyperparameters of a model in both spellings: keys of GGUF metadata and Hugging Face's config.json.
//
// GGUF cannot say everything: dynamic rope scaling, other activations than the architecture's own, and OPT
// are refused on export. Llama 3's rope scaling is a tensor of factors there ("rope_freqs.weight"); on import
// the parameters behind it are found again, or it is an error.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "io/gguf.h"
#include "io/gguf_names.h"

namespace mneme {

// Throws Error{input} for what is missing or cannot be true.
nlohmann::json hf_config_of(const GgufFile& file);
GgufHeads heads_of(const nlohmann::json& config);

// All keys of the architecture, "general.architecture" first.
GgufSettings gguf_settings_of(const nlohmann::json& config);
std::optional<Tensor> rope_factors_of(const nlohmann::json& config);  // [K / 2] fp32, for Llama 3's scaling

constexpr const char* kRopeFactors = "rope_freqs.weight";

}  // namespace mneme
