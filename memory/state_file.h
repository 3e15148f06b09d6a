// State files: a State on disk as safetensors, with a fingerprint of the model that it belongs to
// (docs/formats.md). Saving is atomic; loading takes all or nothing, and step after load equals step before
// save bit for bit.
#pragma once

#include <string>

#include "memory/model.h"

namespace mneme {

// What must be equal for a state to make sense: "model=... options=... type=... weights=... more=...", hashes
// of the configuration, the method and its options, every parameter (adapters included), and whatever the
// caller adds (a tokenizer's hash). Reads every parameter once.
std::string fingerprint(const Model& model, const std::string& more = {});

// `note`: the caller's own words about the state, checked and kept with it.
void save_state(const State& state, const std::string& fingerprint, const std::string& path,
                const std::string& note = {});
// Throws Error{input} with the reason: another version, another model (`fingerprint` empty: any) and what of
// it is another, cut, changed, or with values that are not finite.
struct StateFile {
  State state;
  std::string fingerprint, note;
};
StateFile read_state_file(const std::string& path, const std::string& fingerprint);
State load_state(const std::string& path, const std::string& fingerprint);  // the state alone

}  // namespace mneme
