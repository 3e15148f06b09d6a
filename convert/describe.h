// What a file or a folder is: model, adapter, weights, state or tokenizer, with its configuration and
// tensors. Only headers are read (of a state, everything: its checksum is part of the answer). Nothing is
// computed with it and nothing is loaded into a model; a folder that is incomplete is described as far as it
// goes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace mneme {

// {"kind": "model" | "adapter" | "weights" | "state" | "tokenizer", "path", "bytes", ...}. Throws
// Error{input} when there is nothing at `path` that it knows.
nlohmann::ordered_json describe_path(const std::string& path);

// The same for people. Tensors that differ only in a number of their names are one line, unless
// `every_tensor`.
std::string description_text(const nlohmann::ordered_json& description, bool every_tensor);

}  // namespace mneme
