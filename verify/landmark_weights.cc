// Landmark's reference cases without a model: streams, labels, learning rates, prompts, differences of
// weights.
#include <map>
#include <memory>

#include "io/weight_diff.h"
#include "verify/landmark.h"

namespace mneme {
namespace {

// Tensors in memory as a source of weights.
class Held : public TensorReader {
 public:
  std::map<std::string, Tensor> tensors;
  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, t] : tensors) out.push_back(name);
    return out;
  }
  Info info(const std::string& name) const override {
    return {tensors.at(name).scalar_type(), tensors.at(name).sizes().vec()};
  }
  Tensor tensor(const std::string& name) const override { return tensors.at(name); }
  const char* format() const override { return "safetensors"; }
};

WeightSource held(std::map<std::string, Tensor> tensors, const std::string& where) {
  auto reader = std::make_shared<Held>();
  reader->tensors = std::move(tensors);
  return WeightSource({reader}, where);
}

}  // namespace

Results run_landmark_weights(const GoldenCase& golden) {
  Results results;
  std::map<std::string, Tensor> raw, tuned;
  for (const auto& [name, rule] : golden.expected()) {
    if (name.rfind("diff.", 0) != 0) continue;
    const std::string of = name.substr(5);
    tuned[of] = golden.input("tuned." + of);
    if (golden.has_input("raw." + of)) raw[of] = golden.input("raw." + of);
  }
  const WeightSource before = held(raw, golden.folder() + " raw"),
                     after = held(tuned, golden.folder() + " tuned");
  std::map<std::string, Tensor> difference;
  for (const LazyTensor& t : weight_difference(before, after)) {
    difference[t.name] = t.load();
    results.put("diff." + t.name, difference[t.name]);
  }
  const WeightSource changes = held(difference, golden.folder() + " diff");
  std::map<std::string, Tensor> recovered;
  for (const LazyTensor& t : add_weight_difference(before, changes)) recovered[t.name] = t.load();
  results.put("checksum", at::scalar_tensor(weight_sum(held(recovered, golden.folder())), at::kDouble));
  return results;
}

}  // namespace mneme
