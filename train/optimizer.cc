#include "train/optimizer.h"

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"

namespace mneme {
namespace {

void require(bool holds, const std::string& what, double value, const std::string& hint) {
  if (!holds) throw Error(Kind::usage, "optimizer: " + what + " is " + std::to_string(value), hint);
}

void validate(const OptimizerOptions& o) {
  const auto not_negative = [](const std::string& what, double x) {
    require(std::isfinite(x) && x >= 0, what, x, "give 0 or more");
  };
  not_negative("lr", o.lr);
  not_negative("eps", o.eps);
  not_negative("weight_decay", o.weight_decay);
  not_negative("clip_norm", o.clip_norm);
  not_negative("clip_value", o.clip_value);
  const std::pair<const char*, double> shares[] = {
      {"beta1", o.beta1}, {"beta2", o.beta2}, {"momentum", o.momentum}};
  for (const auto& [what, x] : shares)
    require(x >= 0 && x < 1, what, x, "give a share of at least 0 and below 1");
  if (o.kind != "adamw" && o.kind != "sgd") {
    throw Error(Kind::usage, "unknown optimizer '" + o.kind + "'", "use adamw or sgd");
  }
}

bool contains(const std::string& name, const std::string& part) {
  return name.find(part) != std::string::npos;
}

struct Rate {
  std::string part;
  double factor;
};

Rate parse_rate(const std::string& text) {
  const size_t at = text.rfind('=');
  try {
    size_t used = 0;
    const std::string number = at == std::string::npos ? "" : text.substr(at + 1);
    const double factor = std::stod(number, &used);
    if (at > 0 && used == number.size() && std::isfinite(factor) && factor >= 0)
      return {text.substr(0, at), factor};
  } catch (const std::exception&) {  // no number: as any other text that is no PART=FACTOR
  }
  throw Error(Kind::usage, "optimizer.rates: '" + text + "' is not PART=FACTOR",
              "write for example memory=10");
}

void require_a_match(const std::vector<Parameter>& parameters, const std::string& part,
                     const std::string& option) {
  for (const Parameter& p : parameters) {
    if (contains(p.name, part)) return;
  }
  throw Error(Kind::usage, "optimizer." + option + ": no trained parameter has '" + part + "' in its name",
              "mneme inspect lists the names");
}

bool decays(const Parameter& p, const OptimizerOptions& o) {
  for (const std::string& part : o.no_decay) {
    if (contains(p.name, part)) return false;
  }
  if (o.decay == "matrices") return p.matrix;
  if (o.decay == "2d") return p.value().dim() >= 2;
  if (o.decay == "all") return true;
  throw Error(Kind::usage, "optimizer.decay: unknown '" + o.decay + "'", "use matrices, 2d or all");
}

Tensor zero_state(const Tensor& parameter) {
  const auto type = parameter.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::zeros(parameter.sizes(), parameter.options().dtype(type).requires_grad(false));
}

Tensor counted(int64_t n) { return at::scalar_tensor(n, at::kLong); }

}  // namespace

std::vector<ParameterGroup> parameter_groups(const std::vector<Parameter>& parameters,
                                             const OptimizerOptions& options) {
  std::vector<Rate> rates;
  for (const std::string& text : options.rates) {
    rates.push_back(parse_rate(text));
    require_a_match(parameters, rates.back().part, "rates");
  }
  for (const std::string& part : options.no_decay) require_a_match(parameters, part, "no_decay");
  std::map<std::pair<double, double>, size_t> places;
  std::vector<ParameterGroup> out;
  for (const Parameter& p : parameters) {
    double rate = 1;
    for (const Rate& r : rates) rate *= contains(p.name, r.part) ? r.factor : 1;
    const double decay = decays(p, options) ? options.weight_decay : 0;
    const auto [place, added] = places.try_emplace({decay, rate}, out.size());
    if (added) out.push_back({{}, decay, rate});
    out[place->second].parameters.push_back(p);
  }
  return out;
}

Optimizer::Optimizer(const std::vector<ParameterGroup>& groups, const OptimizerOptions& options)
    : options_(options) {
  validate(options);
  std::set<std::string> names;
  std::set<const at::TensorImpl*> tensors;
  for (const ParameterGroup& group : groups) {
    for (const Parameter& p : group.parameters) {
      const Tensor value = p.value();
      MNEME_CHECK(value.defined() && value.is_leaf(), p.name);
      MNEME_CHECK(names.insert(p.name).second && tensors.insert(value.unsafeGetTensorImpl()).second,
                  p.name + " comes twice");
      add(p, group);
    }
  }
}

void Optimizer::add(const Parameter& parameter, const ParameterGroup& group) {
  const Tensor t = parameter.value();
  parameters_.push_back(parameter);
  rates_.push_back(options_.lr * group.rate);
  if (options_.kind == "sgd") {
    SgdStep s;
    s.param = t;
    if (options_.momentum > 0) s.momentum_buffer = zero_state(t);
    s.weight_decay = group.weight_decay;
    sgd_.push_back(s);
    return;
  }
  AdamwStep s;
  s.param = t;
  s.exp_avg = zero_state(t);
  s.exp_avg_sq = zero_state(t);
  s.weight_decay = group.weight_decay;
  s.step = 0;
  adamw_.push_back(s);
}

void Optimizer::zero_gradients() {
  for (AdamwStep& s : adamw_) s.param.mutable_grad() = Tensor();
  for (SgdStep& s : sgd_) s.param.mutable_grad() = Tensor();
}

std::vector<Tensor> Optimizer::gradients() const {
  std::vector<Tensor> out;
  for (const AdamwStep& s : adamw_) out.push_back(s.param.grad());
  for (const SgdStep& s : sgd_) out.push_back(s.param.grad());
  return out;
}

double Optimizer::gradient_norm() const { return global_norm(gradients()); }

double Optimizer::step(double rate_factor, double scale) {
  const double norm = gradient_norm() * scale;
  if (std::isfinite(norm)) update(rate_factor, norm, scale);
  return norm;
}

void Optimizer::update(double rate_factor, double norm, double scale) {
  const std::vector<Tensor> gradients = this->gradients();
  GradScale g;
  g.scale = options_.clip_norm > 0 ? scale * clip_factor(norm, options_.clip_norm) : scale;
  if (options_.clip_value > 0) g.clip_value = options_.clip_value;
  for (size_t i = 0; i < adamw_.size(); ++i) {
    AdamwStep& s = adamw_[i];
    s.grad = gradients[i];
    s.lr = rates_[i] * rate_factor;
    if (s.grad.defined()) ++s.step;
  }
  for (size_t i = 0; i < sgd_.size(); ++i) {
    sgd_[i].grad = gradients[i];
    sgd_[i].lr = rates_[i] * rate_factor;
  }
  adamw_step(adamw_, {options_.beta1, options_.beta2, options_.eps, options_.early_eps}, g);
  sgd_step(sgd_, {options_.momentum, 0, false}, g);
  for (AdamwStep& s : adamw_) s.grad = Tensor();  // not kept alive beyond zero_gradients
  for (SgdStep& s : sgd_) {
    s.first = s.first && !s.grad.defined();
    s.grad = Tensor();
  }
}

NamedTensors Optimizer::blank_state(const Parameter& parameter, const OptimizerOptions& options) {
  const Tensor t = parameter.value();
  NamedTensors out;
  if (options.kind == "sgd") {
    if (options.momentum > 0) out.emplace_back(parameter.name + ".momentum", zero_state(t));
  } else {
    out.emplace_back(parameter.name + ".exp_avg", zero_state(t));
    out.emplace_back(parameter.name + ".exp_avg_sq", zero_state(t));
  }
  out.emplace_back(parameter.name + ".step", counted(0));
  return out;
}

NamedTensors Optimizer::state() const {
  NamedTensors out;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (options_.kind == "sgd") {
      if (sgd_[i].momentum_buffer.defined()) out.emplace_back(name + ".momentum", sgd_[i].momentum_buffer);
      out.emplace_back(name + ".step", counted(sgd_[i].first ? 0 : 1));
      continue;
    }
    out.emplace_back(name + ".exp_avg", adamw_[i].exp_avg);
    out.emplace_back(name + ".exp_avg_sq", adamw_[i].exp_avg_sq);
    out.emplace_back(name + ".step", counted(adamw_[i].step));
  }
  return out;
}

void Optimizer::load(const SafetensorsFile& file) {
  const std::string hint = "resume with the options of the run that wrote this checkpoint";
  // All of it is read and checked before anything changes.
  std::vector<Tensor> read;
  for (const auto& [name, t] : state()) {
    if (!file.contains(name))
      throw Error(Kind::input, file.where() + ": the optimizer's '" + name + "' is missing", hint);
    read.push_back(file.tensor(name));
    const Tensor& found = read.back();
    const bool counts = t.scalar_type() == at::kLong;
    if (found.sizes() != t.sizes() || found.scalar_type() != t.scalar_type() ||
        (counts && found.item<int64_t>() < 0)) {
      throw Error(Kind::input,
                  file.where() + ": the optimizer's '" + name + "' is " + describe(found) + ", expected " +
                      describe(t) + (counts ? " of at least 0" : ""),
                  hint);
    }
  }
  auto next = read.begin();
  for (AdamwStep& s : adamw_) {
    s.exp_avg.copy_(*next++);
    s.exp_avg_sq.copy_(*next++);
    s.step = (next++)->item<int64_t>();
  }
  for (SgdStep& s : sgd_) {
    if (s.momentum_buffer.defined()) s.momentum_buffer.copy_(*next++);
    s.first = (next++)->item<int64_t>() == 0;
  }
}

}  // namespace mneme
