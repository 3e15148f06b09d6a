#include "train/optimizer.h"

#include <cmath>

#include "base/error.h"

namespace mneme {

Optimizer::Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const Parameter& p : parameters_) {
    const Tensor t = p.value();
    const double decay = options.decay == "all" || p.matrix ? options.weight_decay : 0;
    if (options.kind == "sgd") {
      SgdStep s;
      s.param = t;
      s.momentum_buffer = options.momentum > 0 ? at::zeros_like(t.detach()) : Tensor();
      s.weight_decay = decay;
      sgd_.push_back(s);
      continue;
    }
    AdamwStep s;
    s.param = t;
    s.exp_avg = at::zeros_like(t.detach());
    s.exp_avg_sq = at::zeros_like(t.detach());
    s.weight_decay = decay;
    s.step = 0;
    adamw_.push_back(s);
  }
}

void Optimizer::zero_gradients() {
  for (AdamwStep& s : adamw_) s.param.mutable_grad() = Tensor();
  for (SgdStep& s : sgd_) s.param.mutable_grad() = Tensor();
}

double Optimizer::step(double rate_factor, double scale) {
  std::vector<Tensor> gradients;
  for (const Parameter& p : parameters_) gradients.push_back(p.value().grad());
  const double norm = global_norm(gradients) * scale;
  if (!std::isfinite(norm)) return norm;
  GradScale g;
  g.scale = options_.clip_norm > 0 ? scale * clip_factor(norm, options_.clip_norm) : scale;
  if (options_.clip_value > 0) g.clip_value = options_.clip_value;
  for (size_t i = 0; i < adamw_.size(); ++i) {
    AdamwStep& s = adamw_[i];
    s.grad = gradients[i];
    s.lr = options_.lr * rate_factor;
    if (s.grad.defined()) ++s.step;
  }
  for (size_t i = 0; i < sgd_.size(); ++i) {
    sgd_[i].grad = gradients[i];
    sgd_[i].lr = options_.lr * rate_factor;
  }
  if (!adamw_.empty()) adamw_step(adamw_, {options_.beta1, options_.beta2, options_.eps}, g);
  if (!sgd_.empty()) sgd_step(sgd_, {options_.momentum, 0, false}, g);
  for (size_t i = 0; i < sgd_.size(); ++i) sgd_[i].first = sgd_[i].first && !gradients[i].defined();
  return norm;
}

NamedTensors Optimizer::state() const {
  NamedTensors out;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (!sgd_.empty()) {
      if (sgd_[i].momentum_buffer.defined()) out.emplace_back(name + ".momentum", sgd_[i].momentum_buffer);
      out.emplace_back(name + ".step", at::scalar_tensor(sgd_[i].first ? 0 : 1, at::kLong));
      continue;
    }
    out.emplace_back(name + ".exp_avg", adamw_[i].exp_avg);
    out.emplace_back(name + ".exp_avg_sq", adamw_[i].exp_avg_sq);
    out.emplace_back(name + ".step", at::scalar_tensor(adamw_[i].step, at::kLong));
  }
  return out;
}

void Optimizer::load(const SafetensorsFile& file) {
  for (const auto& [name, t] : state()) {
    if (!file.contains(name) || file.info(name).shape != t.sizes().vec()) {
      throw Error(Kind::input,
                  file.where() + ": the optimizer's '" + name +
                      "' is missing or of another shape, expected " + describe(t),
                  "resume with the options of the run that wrote this checkpoint");
    }
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    const int64_t step = file.tensor(name + ".step").item<int64_t>();
    if (!sgd_.empty()) {
      sgd_[i].first = step == 0;
      if (sgd_[i].momentum_buffer.defined()) sgd_[i].momentum_buffer.copy_(file.tensor(name + ".momentum"));
      continue;
    }
    adamw_[i].step = step;
    adamw_[i].exp_avg.copy_(file.tensor(name + ".exp_avg"));
    adamw_[i].exp_avg_sq.copy_(file.tensor(name + ".exp_avg_sq"));
  }
}

}  // namespace mneme
