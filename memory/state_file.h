// State files: a State on disk as safetensors, with a fingerprint of the model that it belongs to
// (docs/formats.md). Saving is atomic; loading takes all or nothing, and step after load equals step before
// save bit for bit.
#pragma once

#include <string>

#include "memory/model.h"

namespace mneme {

// What must be equal for a state to make sense: the model's shape and weights, the method and its options,
// and whatever the caller adds (a tokenizer's hash). Hashing reads every parameter once.
std::string fingerprint(const Model& model, const std::string& more = {});

void save_state(const State& state, const std::string& fingerprint, const std::string& path);
// Throws Error{input} with the reason: another version, another model (`fingerprint` empty: any), cut,
// changed, or with values that are not finite.
State load_state(const std::string& path, const std::string& fingerprint);

}  // namespace mneme
