#include "verify/training.h"

#include "ops/adamw.h"

namespace mneme {

void run_training(const GoldenCase& golden, const std::vector<Parameter>& trained, const Naming& naming,
                  const std::function<Tensor(int64_t)>& forward, Results& results) {
  const nlohmann::json adamw = golden.section("adamw");
  const int64_t steps = adamw.empty() ? 1 : adamw.value("steps", int64_t{1});
  std::vector<AdamwStep> updates;
  std::vector<FileName> names;
  for (const Parameter& p : trained) {
    const Tensor t = p.value();
    t.set_requires_grad(true);
    AdamwStep u;
    u.param = t;
    u.exp_avg = at::zeros_like(t);
    u.exp_avg_sq = at::zeros_like(t);
    u.step = 0;
    updates.push_back(u);
    names.push_back(naming(p));
  }
  for (int64_t step = 0; step < steps; ++step) {
    for (AdamwStep& u : updates) u.param.mutable_grad() = Tensor();
    const Tensor loss = forward(step);
    results.put(step == 0 ? "loss" : "loss_step" + std::to_string(step), loss.detach());
    loss.backward();
    std::vector<Tensor> gradients;
    for (size_t i = 0; i < updates.size(); ++i) {
      AdamwStep& u = updates[i];
      u.grad = u.param.grad();
      if (!u.grad.defined()) continue;
      gradients.push_back(u.grad);
      const Tensor shown = to_file_layout(names[i], u.grad);
      if (step == 0) results.put("grad." + names[i].name, shown);
      results.gradients["after_step." + names[i].name].push_back(shown.clone());
      ++u.step;
    }
    if (step == 0) results.put("grad_norm", at::scalar_tensor(global_norm(gradients), at::kDouble));
    if (adamw.empty()) continue;
    for (AdamwStep& u : updates) {
      u.lr = adamw.at("lr").get<double>();
      u.weight_decay = adamw.value("weight_decay", 0.01);
    }
    const auto betas = adamw.value("betas", std::vector<double>{0.9, 0.999});
    adamw_step(updates, {betas.at(0), betas.at(1), adamw.value("eps", 1e-8)});
  }
  if (adamw.empty()) return;
  for (size_t i = 0; i < updates.size(); ++i) {
    results.put("after_step." + names[i].name, to_file_layout(names[i], updates[i].param.detach()));
  }
}

}  // namespace mneme
