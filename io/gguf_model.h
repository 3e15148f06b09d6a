// A GGUF file seen as a Hugging Face model, and the way back: names, layouts and hyperparameters are
// translated (io/gguf_names.h, io/gguf_config.h), the vocabulary goes along on export (io/gguf_vocab.h).
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_names.h"

namespace mneme {

class WeightSource;

class GgufModel {
 public:
  // Throws Error{input} for architectures and tensors that it does not know.
  explicit GgufModel(GgufFile file);

  const std::vector<std::string>& names() const { return names_; }  // Hugging Face's
  std::vector<int64_t> shape(const std::string& name) const;
  at::ScalarType dtype(const std::string& name, at::ScalarType quantised_as) const;
  Tensor tensor(const std::string& name, at::ScalarType quantised_as) const;
  const GgufFile& file() const { return file_; }

 private:
  const GgufName& source(const std::string& name) const;

  GgufFile file_;
  GgufHeads heads_;
  std::map<std::string, GgufName> sources_;
  std::vector<std::string> names_;
};

// Writes the model as `type` (F16, BF16, Q8_0 or F32). Vectors stay F32; a matrix whose rows are no whole
// blocks becomes F16 instead of Q8_0. `extra` are further settings, such as the vocabulary.
void export_gguf(const std::string& path, const WeightSource& weights, const nlohmann::json& config,
                 GgmlType type, const GgufSettings& extra = {});

}  // namespace mneme
