#include "ops/adamw.h"

#include <ATen/core/grad_mode.h>

#include <cmath>

#include "base/error.h"
#include "ops/elementwise.h"

namespace mneme {
namespace {

constexpr int64_t kChunk = 16384;  // elements of a task: small enough to balance, large enough to stream

bool flat_fp32(const Tensor& t) {
  return t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous();
}

bool kernel_takes(const Tensor& param, const Tensor& grad, const Tensor& copy) {
  return flat_fp32(param) && kernel_type(grad) &&
         (!copy.defined() ||
          (copy.device().is_cpu() && copy.scalar_type() == at::kBFloat16 && copy.is_contiguous()));
}

void check_like(const Tensor& param, const Tensor& other, const char* what) {
  MNEME_CHECK(!other.defined() || other.sizes() == param.sizes(),
              std::string(what) + " " + describe(other) + " of " + describe(param));
}

struct Task {
  AdamwPart part;
  int type;      // of the gradient
  size_t owner;  // index of the step
};

// Adds the chunks of one parameter. `grad` is contiguous and outlives the tasks.
void cut(const AdamwPart& whole, const Tensor& grad, size_t owner, std::vector<Task>& tasks) {
  for (int64_t first = 0; first < whole.count; first += kChunk) {
    AdamwPart part = whole;
    part.param += first;
    part.grad = static_cast<const char*>(whole.grad) + first * grad.element_size();
    if (part.exp_avg) part.exp_avg += first;
    if (part.exp_avg_sq) part.exp_avg_sq += first;
    if (part.copy) part.copy += first;
    part.count = std::min(kChunk, whole.count - first);
    tasks.push_back({part, type_index(grad), owner});
  }
}

template <class F>
void run(const std::vector<Task>& tasks, const F& f) {
  at::parallel_for(0, static_cast<int64_t>(tasks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(tasks[static_cast<size_t>(i)]);
  });
}

float* floats(const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; }
uint16_t* halves(const Tensor& t) { return t.defined() ? static_cast<uint16_t*>(t.data_ptr()) : nullptr; }

// Raw writes are invisible to autograd and to caches of packed weights unless the version says so.
void written(const Tensor& t) {
  if (t.defined()) t.unsafeGetTensorImpl()->bump_version();
}

// The factors of m and sqrt(v) in step t.
struct Correction {
  double step_size, root;
};
Correction correction_of(const AdamwStep& s, const AdamwOptions& o) {
  const auto t = static_cast<double>(s.step);
  const double step_size = s.lr / (1 - std::pow(o.beta1, t)), root = std::sqrt(1 - std::pow(o.beta2, t));
  return o.early_eps ? Correction{step_size * root, 1} : Correction{step_size, root};
}

AdamwScalars scalars_of(const AdamwStep& s, const AdamwOptions& o, const GradScale& scale) {
  const Correction correction = correction_of(s, o);
  const auto f = [](double x) { return static_cast<float>(x); };
  return {
      f(scale.scale), f(scale.clip_value), f(1 - s.lr * s.weight_decay), f(o.beta1),         f(1 - o.beta1),
      f(o.beta2),     f(1 - o.beta2),      f(correction.step_size),      f(correction.root), f(o.eps)};
}

SgdScalars scalars_of(const SgdStep& s, const SgdOptions& o, const GradScale& scale) {
  const auto f = [](double x) { return static_cast<float>(x); };
  return {f(scale.scale),     f(scale.clip_value),
          f(s.weight_decay),  f(o.momentum),
          f(1 - o.dampening), f(s.lr),
          o.nesterov,         s.first};
}

Tensor scaled(const Tensor& grad, at::ScalarType type, const GradScale& scale) {
  const Tensor g = grad.to(type) * scale.scale;
  return std::isfinite(scale.clip_value) ? g.clamp(-scale.clip_value, scale.clip_value) : g;
}

}  // namespace

void adamw_step_reference(const AdamwStep& s, const AdamwOptions& o, const GradScale& scale) {
  const at::NoGradGuard no_grad;
  const Correction correction = correction_of(s, o);
  const Tensor g = scaled(s.grad, s.exp_avg.scalar_type(), scale), p = s.param.to(s.exp_avg.scalar_type());
  s.exp_avg.mul_(o.beta1).add_(g, 1 - o.beta1);
  s.exp_avg_sq.mul_(o.beta2).addcmul_(g, g, 1 - o.beta2);
  const Tensor denominator = (s.exp_avg_sq.sqrt() / correction.root).add_(o.eps);
  const Tensor next =
      (p * (1 - s.lr * s.weight_decay)).addcdiv_(s.exp_avg, denominator, -correction.step_size);
  s.param.copy_(next);
  if (s.copy.defined()) s.copy.copy_(next);
}

void sgd_step_reference(const SgdStep& s, const SgdOptions& o, const GradScale& scale) {
  const at::NoGradGuard no_grad;
  const at::ScalarType type =
      s.momentum_buffer.defined() ? s.momentum_buffer.scalar_type() : arithmetic_type(s.param);
  const Tensor p = s.param.to(type);
  Tensor g = scaled(s.grad, type, scale) + p * s.weight_decay;
  if (s.momentum_buffer.defined()) {
    s.first ? s.momentum_buffer.copy_(g) : s.momentum_buffer.mul_(o.momentum).add_(g, 1 - o.dampening);
    g = o.nesterov ? g + s.momentum_buffer * o.momentum : s.momentum_buffer;
  }
  const Tensor next = p - g * s.lr;
  s.param.copy_(next);
  if (s.copy.defined()) s.copy.copy_(next);
}

void adamw_step(const std::vector<AdamwStep>& steps, const AdamwOptions& options, const GradScale& scale) {
  std::vector<Task> tasks;
  std::vector<AdamwScalars> scalars(steps.size());
  std::vector<Tensor> grads(steps.size());  // contiguous ones, alive until the end
  for (size_t i = 0; i < steps.size(); ++i) {
    const AdamwStep& s = steps[i];
    if (!s.grad.defined()) continue;
    check_like(s.param, s.grad, "gradient");
    check_like(s.param, s.exp_avg, "exp_avg");
    check_like(s.param, s.exp_avg_sq, "exp_avg_sq");
    check_like(s.param, s.copy, "copy");
    if (!kernel_takes(s.param, s.grad, s.copy) || !flat_fp32(s.exp_avg) || !flat_fp32(s.exp_avg_sq)) {
      adamw_step_reference(s, options, scale);
      continue;
    }
    scalars[i] = scalars_of(s, options, scale);
    grads[i] = s.grad.contiguous();
    cut({floats(s.param), grads[i].data_ptr(), floats(s.exp_avg), floats(s.exp_avg_sq), halves(s.copy),
         s.param.numel()},
        grads[i], i, tasks);
    for (const Tensor* t : {&s.param, &s.exp_avg, &s.exp_avg_sq, &s.copy}) written(*t);
  }
  const ElementwiseKernels& table = elementwise_kernels();
  run(tasks, [&](const Task& t) { table.adamw[t.type](t.part, scalars[t.owner]); });
}

void sgd_step(const std::vector<SgdStep>& steps, const SgdOptions& options, const GradScale& scale) {
  std::vector<Task> tasks;
  std::vector<SgdScalars> scalars(steps.size());
  std::vector<Tensor> grads(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    const SgdStep& s = steps[i];
    if (!s.grad.defined()) continue;
    check_like(s.param, s.grad, "gradient");
    check_like(s.param, s.momentum_buffer, "momentum_buffer");
    check_like(s.param, s.copy, "copy");
    if (!kernel_takes(s.param, s.grad, s.copy) ||
        (s.momentum_buffer.defined() && !flat_fp32(s.momentum_buffer))) {
      sgd_step_reference(s, options, scale);
      continue;
    }
    scalars[i] = scalars_of(s, options, scale);
    grads[i] = s.grad.contiguous();
    cut({floats(s.param), grads[i].data_ptr(), floats(s.momentum_buffer), nullptr, halves(s.copy),
         s.param.numel()},
        grads[i], i, tasks);
    for (const Tensor* t : {&s.param, &s.momentum_buffer, &s.copy}) written(*t);
  }
  const ElementwiseKernels& table = elementwise_kernels();
  run(tasks, [&](const Task& t) { table.sgd[t.type](t.part, scalars[t.owner]); });
}

double global_norm(const std::vector<Tensor>& tensors) {
  struct Span {
    const char* data;
    int64_t count;
    int type;
  };
  std::vector<Span> spans;
  std::vector<Tensor> held;
  double total = 0;
  for (const Tensor& t : tensors) {
    if (!t.defined()) continue;
    if (!kernel_type(t)) {
      total += t.detach().to(at::kDouble).square().sum().item<double>();
      continue;
    }
    const Tensor flat = t.contiguous();
    const char* data = static_cast<const char*>(flat.data_ptr());
    for (int64_t first = 0; first < flat.numel(); first += kChunk) {
      spans.push_back(
          {data + first * flat.element_size(), std::min(kChunk, flat.numel() - first), type_index(flat)});
    }
    held.push_back(flat);
  }
  std::vector<double> parts(spans.size());
  const ElementwiseKernels& table = elementwise_kernels();
  at::parallel_for(0, static_cast<int64_t>(spans.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      parts[i] = table.sum_of_squares[spans[i].type](spans[i].data, spans[i].count);
    }
  });
  for (const double part : parts) total += part;
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  if (!std::isfinite(norm)) return std::numeric_limits<double>::quiet_NaN();
  return std::min(1.0, max_norm / (norm + 1e-6));
}

void scale_gradients(const std::vector<Tensor>& gradients, const GradScale& scale) {
  const at::NoGradGuard no_grad;
  const ElementwiseKernels& table = elementwise_kernels();
  for (const Tensor& g : gradients) {
    if (!g.defined()) continue;
    if (!kernel_type(g) || !g.is_contiguous()) {
      g.copy_(scaled(g, arithmetic_type(g), scale));
      continue;
    }
    const auto kernel = table.scale[type_index(g)];
    char* data = static_cast<char*>(g.data_ptr());
    parallel_elements(g.numel(), [&](int64_t begin, int64_t end) {
      kernel(data + begin * g.element_size(), static_cast<float>(scale.scale),
             static_cast<float>(scale.clip_value), end - begin);
    });
    written(g);
  }
}

}  // namespace mneme
