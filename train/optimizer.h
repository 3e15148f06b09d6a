// The optimizer of a training: named parameters, their groups, their state, one update at a time.
//
// Parameters and gradients are libtorch's: leaves that a backward pass fills. A parameter whose gradient is
// undefined is left alone by an update: no decay, no moments, and its own count of updates (Adam's t) stands
// still. State is fp32, or fp64 for fp64 parameters; parameters are best fp32 masters. Schedules are
// train/schedule.h.
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
  bool early_eps = false;
  std::vector<std::string> no_decay, rates;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind, {"adamw", "sgd"}, "the update rule");
    v.field("lr", lr, "base learning rate");
    v.field("beta1", beta1, "AdamW's first momentum");
    v.field("beta2", beta2, "AdamW's second momentum");
    v.field("eps", eps, "AdamW's epsilon");
    v.field("early_eps", early_eps, "add epsilon before the bias correction, as fairseq does");
    v.field("momentum", momentum, "SGD's momentum");
    v.field("weight_decay", weight_decay, "decoupled decay (SGD: added to the gradient)");
    v.choice("decay", decay, {"matrices", "2d", "all"},
             "which parameters decay: matrices of linear layers, all of two or more dimensions, or all");
    v.field("no_decay", no_decay, "parts of names of parameters that do not decay all the same");
    v.field("rates", rates,
            "PART=FACTOR: the learning rate of parameters whose names contain PART, times FACTOR");
    v.field("clip_norm", clip_norm, "limit of the gradients' common norm; 0: none");
    v.field("clip_value", clip_value, "limit of every element of a gradient; 0: none");
  }
};

struct ParameterGroup {
  std::vector<Parameter> parameters;
  double weight_decay = 0;
  double rate = 1;  // times the learning rate
};

// The groups that `decay`, `no_decay` and `rates` describe. Throws Error{usage} where a part of a name is in
// none of them.
std::vector<ParameterGroup> parameter_groups(const std::vector<Parameter>& parameters,
                                             const OptimizerOptions& options);

class Optimizer {
 public:
  // Keeps the parameters' tensors; they must be leaves, each in one group, and stay the same tensors.
  // Throws Error{usage} on values that make no sense.
  Optimizer(const std::vector<ParameterGroup>& groups, const OptimizerOptions& options);
  Optimizer(const std::vector<Parameter>& parameters, const OptimizerOptions& options)
      : Optimizer(parameter_groups(parameters, options), options) {}

  void zero_gradients();
  // One update from the gradients times `scale`. Returns their norm before clipping (not finite: nothing was
  // changed).
  double step(double rate_factor, double scale = 1.0);
  // The same in two parts, for parameters that several processes share out: the norm before clipping is that
  // of all their gradients.
  double gradient_norm() const;
  void update(double rate_factor, double norm, double scale = 1.0);

  // State for checkpoints: "<name>.exp_avg", "<name>.exp_avg_sq", "<name>.step"; of SGD "<name>.momentum" and
  // ".step". The tensors are the live ones. Loading takes all or nothing; the next step is then bit for bit
  // what it would have been.
  NamedTensors state() const;
  void load(const SafetensorsFile& file);
  const std::vector<Parameter>& parameters() const { return parameters_; }
  // Tensors with the names, shapes and types of one parameter's state.
  static NamedTensors blank_state(const Parameter& parameter, const OptimizerOptions& options);

 private:
  void add(const Parameter& parameter, const ParameterGroup& group);
  std::vector<Tensor> gradients() const;

  OptimizerOptions options_;
  std::vector<Parameter> parameters_;  // in the order of the groups
  std::vector<double> rates_;
  std::vector<AdamwStep> adamw_;  // one a parameter, or
  std::vector<SgdStep> sgd_;      // one a parameter
};

}  // namespace mneme
