// The originals' own configurations: the `memory` object of an imported config.json, in the names of their
// papers and flags, means the originals' behaviour (a look-ahead recall, bf16 arithmetic), not our defaults.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "memory/method_options.h"

namespace mneme {

// Throws Error{input} for a method that is not known or a value that makes no sense.
MemoryOptions from_original_config(const nlohmann::json& memory);

// The way back, for rmt and hmt (Error{usage} for others). What the originals have no word for is listed in
// `lost`: they will behave otherwise there.
nlohmann::json to_original_config(const MemoryOptions& options, std::vector<std::string>& lost);

}  // namespace mneme
