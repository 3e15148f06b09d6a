// Optimizer steps over many parameters at once: AdamW, SGD with momentum, and clipping of gradients.
//
//   AdamW (decoupled decay, Loshchilov and Hutter), in the order of torch's:
//     p *= 1 - lr wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//     p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   SGD: g += wd p;  m = momentum m + (1 - dampening) g  (the first time m = g);  p -= lr (g + momentum m |
//   m)
//
// Parameters and state are fp32 (masters), gradients fp32 or bf16, read and written once in one parallel
// region for all of them; what is not, or is not on the CPU, goes through plain at:: operations. A step whose
// gradient is undefined is skipped altogether: no decay, no state. Everything happens in place and outside
// autograd.
//
// This file knows no names, groups, schedules or checkpoints: train/optimizer.h.
#pragma once

#include <limits>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

// Factors on every gradient before it is used, so that clipping and averaging cost no pass of their own.
struct GradScale {
  double scale = 1;
  double clip_value = std::numeric_limits<double>::infinity();  // then each element is limited to this
};

struct AdamwStep {
  Tensor param, grad;          // one shape; grad may be undefined
  Tensor exp_avg, exp_avg_sq;  // as param
  Tensor copy;                 // bf16 copy of param to refresh, or undefined
  int64_t step = 1;            // t, counted from 1, of this very parameter
  double lr = 1e-3, weight_decay = 0;
};
struct AdamwOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool early_eps = false;  // fairseq's Adam: eps joins sqrt(v) before the bias correction
};
void adamw_step(const std::vector<AdamwStep>& steps, const AdamwOptions& options,
                const GradScale& scale = {});

struct SgdStep {
  Tensor param, grad;
  Tensor momentum_buffer;  // as param, or undefined without momentum
  Tensor copy;
  bool first = true;  // the buffer holds nothing yet
  double lr = 1e-3, weight_decay = 0;
};
struct SgdOptions {
  double momentum = 0, dampening = 0;
  bool nesterov = false;
};
void sgd_step(const std::vector<SgdStep>& steps, const SgdOptions& options, const GradScale& scale = {});

// The 2-norm of all of them together, in double; undefined ones count nothing. Same bits on any number of
// threads.
double global_norm(const std::vector<Tensor>& tensors);
// min(1, max_norm / (norm + 1e-6)), as torch's clip_grad_norm_: the factor for a GradScale. NaN of a norm
// that is not finite, so that it cannot pass unseen.
double clip_factor(double norm, double max_norm);
// In place, where the gradients themselves are wanted scaled or limited.
void scale_gradients(const std::vector<Tensor>& gradients, const GradScale& scale);

// In plain at:: operations, for every type and device.
void adamw_step_reference(const AdamwStep& step, const AdamwOptions& options, const GradScale& scale);
void sgd_step_reference(const SgdStep& step, const SgdOptions& options, const GradScale& scale);

}  // namespace mneme
