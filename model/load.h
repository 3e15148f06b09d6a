// Parameters from files, and back under the files' names. All parameters are found and fit, or nothing is
// taken: the error lists what is missing, unexpected or misshapen, with expected and found shapes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "io/weights.h"
#include "model/architectures.h"
#include "model/decoder.h"

namespace mneme {

// Named tensors of one or several files.
struct TensorSource {
  std::string where;  // for messages
  std::vector<std::string> names;
  std::function<std::vector<int64_t>(const std::string&)> shape;
  std::function<Tensor(const std::string&)> tensor;
};
TensorSource source_of(const SafetensorsFile& file);
TensorSource source_of(const WeightSource& weights);
TensorSource source_of(NamedTensors tensors, std::string where);

// What a parameter is called in the files, and how it lies there.
using Naming = std::function<FileName(const Parameter&)>;
// The backbone's names by its architecture's table, under a prefix ("memory_cell.model."); others keep their
// own.
Naming file_naming(const ModelConfig& config, const std::string& prefix = {});
// The same for a checkpoint with these names: published GPT-2 folders leave the root of the names out.
Naming stored_naming(const ModelConfig& config, const std::vector<std::string>& stored);

struct LoadRules {
  at::ScalarType dtype = at::kFloat;
  std::function<bool(const std::string&)> ignorable;  // names that hold no parameter
  bool fill_missing = false;                          // leave parameters that the files lack as they are
};
// Returns the parameters that were found.
std::vector<std::string> load_parameters(const std::vector<Parameter>& parameters, const Naming& naming,
                                         const TensorSource& source, const LoadRules& rules);

// The parameters as the files hold them. Shares memory where the layout allows.
NamedTensors export_parameters(const std::vector<Parameter>& parameters, const Naming& naming);
Tensor to_file_layout(const FileName& name, const Tensor& t);  // also for gradients

}  // namespace mneme
