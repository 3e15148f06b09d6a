// The optimizer of a training: named parameters, their groups, their state, one update at a time.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "io/safetensors.h"
#include "model/decoder.h"
#include "ops/adamw.h"

namespace mneme {

struct OptimizerOptions {
  std::string kind = "adamw", decay = "matrices";
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01, momentum = 0.9;
  double clip_norm = 1.0, clip_value = 0;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind, {"adamw", "sgd"}, "the update rule");
    v.field("lr", lr, "base learning rate");
    v.field("beta1", beta1, "AdamW's first momentum");
    v.field("beta2", beta2, "AdamW's second momentum");
    v.field("eps", eps, "AdamW's epsilon");
    v.field("momentum", momentum, "SGD's momentum");
    v.field("weight_decay", weight_decay, "decoupled decay (SGD: added to the gradient)");
    v.choice("decay", decay, {"matrices", "all"},
             "which parameters decay: matrices of linear layers, or all");
    v.field("clip_norm", clip_norm, "limit of the gradients' common norm; 0: none");
    v.field("clip_value", clip_value, "limit of every element of a gradient; 0: none");
  }
};

class Optimizer {
 public:
  // Keeps the parameters' tensors; they must be leaves and stay the same tensors.
  Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options);

  void zero_gradients();
  // One update from the gradients times `scale`. Returns their norm before clipping (NaN: nothing was
  // changed).
  double step(double rate_factor, double scale = 1.0);

  // State for checkpoints: "<name>.exp_avg", "<name>.exp_avg_sq", "<name>.step". Loading takes all or
  // nothing.
  NamedTensors state() const;
  void load(const SafetensorsFile& file);
  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
  OptimizerOptions options_;
  std::vector<AdamwStep> adamw_;
  std::vector<SgdStep> sgd_;
};

}  // namespace mneme
