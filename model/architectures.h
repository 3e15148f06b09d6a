// The table of architectures: how a config.json is read, and what each parameter is called in the files.
// Adding an architecture is one row here (and in docs/architecture.md).
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace mneme {

// The file's name of one of the decoder's parameters. `{i}` of the pattern was replaced by the layer.
struct FileName {
  std::string name;
  bool transposed = false;  // stored [in, out] (GPT-2's Conv1D)
};

class NameMap {
 public:
  explicit NameMap(const ModelConfig& config);
  // `ours` as Decoder::parameters() lists it.
  FileName file_name(const std::string& ours) const;
  // Names that checkpoints of this architecture carry and that hold no parameter (causal masks, inv_freq).
  bool ignorable(const std::string& name) const;
  // What every name of the backbone starts with ("transformer."); some published files leave it out.
  const std::string& root() const { return root_; }

 private:
  const struct Architecture* architecture_;
  std::string root_;
};

// "layers.0.q.weight" -> "layers.0.q"
std::string without_leaf(const std::string& name);

std::vector<std::string> architecture_names();

}  // namespace mneme
