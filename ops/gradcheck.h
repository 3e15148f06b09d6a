// Gradients against finite differences, for the tests of every differentiable operation.
//
//   auto f = [](const Tensors& in) { return Tensors{rms_norm(in[0], in[1], 1e-6)}; };
//   EXPECT_TRUE(gradients_match(f, {x, weight}));                  // float64 inputs
//
// `f` must be pure. Its outputs are contracted with fixed random cotangents, so that one backward pass and a
// few evaluations an input element test the whole Jacobian. Differences are fourth order, (8 d1 - d2) / 12h:
// with the default step they are good to about 1e-10, but the two points must not straddle a kink.
// `gradients` alone serves to compare a kernel with its reference. Tests only: it needs GoogleTest.
#pragma once

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

using Tensors = std::vector<Tensor>;
using TensorFunction = std::function<Tensors(const Tensors&)>;

struct GradcheckOptions {
  double step = 1e-3;
  double atol = 1e-8, rtol = 1e-7;
  int64_t samples = 64;  // elements tested of each input, spread evenly; all of them when it has no more
  uint64_t seed = 1;     // of the cotangents
};

// One standard normal cotangent for each defined floating output, in its type and on its device.
inline Tensors random_cotangents(const Tensors& outputs, uint64_t seed = 1) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  Tensors out;
  for (const Tensor& o : outputs) {
    const bool floating = o.defined() && at::isFloatingType(o.scalar_type());
    out.push_back(floating ? at::randn(o.sizes(), generator, at::TensorOptions(at::kDouble)).to(o.options())
                           : Tensor());
  }
  return out;
}

// Gradients of sum_i <f_i(inputs), cotangents_i> with respect to every input that is defined and floating;
// undefined for the others and where no gradient arrived. The inputs themselves are left alone.
inline Tensors gradients(const TensorFunction& f, const Tensors& inputs, const Tensors& cotangents) {
  Tensors leaves;
  for (const Tensor& x : inputs) {
    const bool wanted = x.defined() && at::isFloatingType(x.scalar_type());
    leaves.push_back(wanted ? x.detach().clone().requires_grad_() : x);
  }
  at::AutoGradMode enable(true);
  const Tensors outputs = f(leaves);
  Tensor total;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad() || !cotangents.at(i).defined()) continue;
    // In double, so that the sum itself adds no error to what reaches each output.
    const Tensor part = (outputs[i].to(at::kDouble) * cotangents[i].to(at::kDouble)).sum();
    total = total.defined() ? total + part : part;
  }
  if (total.defined()) total.backward();
  Tensors out;
  for (const Tensor& leaf : leaves) {
    const bool wanted = leaf.defined() && leaf.requires_grad();
    out.push_back(wanted ? leaf.grad() : Tensor());
  }
  return out;
}

namespace gradcheck_detail {

inline double contract(const TensorFunction& f, const Tensors& inputs, const Tensors& cotangents) {
  at::NoGradGuard no_grad;
  const Tensors outputs = f(inputs);
  double total = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (cotangents[i].defined()) total += (outputs[i] * cotangents[i]).sum().item<double>();
  }
  return total;
}

// The derivative along element `at` of input `i`; `inputs` is restored before returning.
inline double difference(const TensorFunction& f, const Tensors& inputs, const Tensors& cotangents, size_t i,
                         int64_t at, double h) {
  double* element = inputs[i].data_ptr<double>() + at;
  const double middle = *element;
  auto value = [&](double offset) {
    *element = middle + offset;
    return contract(f, inputs, cotangents);
  };
  const double d1 = value(h) - value(-h);
  const double d2 = value(2 * h) - value(-2 * h);
  *element = middle;
  return (8 * d1 - d2) / (12 * h);
}

}  // namespace gradcheck_detail

// Every floating input must be float64 on the CPU.
inline ::testing::AssertionResult gradients_match(const TensorFunction& f, const Tensors& inputs,
                                                  const GradcheckOptions& options = {}) {
  Tensors points;
  for (const Tensor& x : inputs) {
    if (!x.defined() || !at::isFloatingType(x.scalar_type())) {
      points.push_back(x);
      continue;
    }
    if (x.scalar_type() != at::kDouble) return ::testing::AssertionFailure() << "an input is not float64";
    points.push_back(x.detach().clone(at::MemoryFormat::Contiguous));
  }
  Tensors outputs;
  {
    at::NoGradGuard no_grad;
    outputs = f(points);
  }
  const Tensors cotangents = random_cotangents(outputs, options.seed);
  const Tensors analytic = gradients(f, points, cotangents);
  std::ostringstream misses;
  int64_t missed = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    if (!points[i].defined() || !at::isFloatingType(points[i].scalar_type())) continue;
    const int64_t n = points[i].numel(), tested = std::min(n, options.samples);
    const Tensor given = analytic[i].defined() ? analytic[i].contiguous() : at::zeros_like(points[i]);
    for (int64_t k = 0; k < tested; ++k) {
      const int64_t at = k * n / tested;
      const double expected = gradcheck_detail::difference(f, points, cotangents, i, at, options.step);
      const double found = given.data_ptr<double>()[at];
      if (std::abs(found - expected) <= options.atol + options.rtol * std::abs(expected)) continue;
      if (++missed <= 5) {
        misses << "\n  input " << i << " element " << at << ": gradient " << found << ", differences "
               << expected;
      }
    }
  }
  if (missed) return ::testing::AssertionFailure() << missed << " gradients differ:" << misses.str();
  return ::testing::AssertionSuccess();
}

}  // namespace mneme
