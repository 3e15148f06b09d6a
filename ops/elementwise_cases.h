// How the tests of elementwise operations compare kernels with references: at every level of this machine, in
// fp32 and bf16, values and gradients. Tests only.
#pragma once

#include <gtest/gtest.h>

#include "ops/cpu.h"
#include "ops/gradcheck.h"

namespace mneme {

template <class F>
void at_every_level(const F& f) {
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level > cpu_level_available()) break;
    SCOPED_TRACE(cpu_level_name(level));
    const ForceCpuLevel force(level);
    f();
  }
}

struct Tolerance {
  double atol, rtol;
};

inline void expect_close(const Tensor& found, const Tensor& expected, Tolerance tolerance,
                         const std::string& what) {
  ASSERT_EQ(found.defined(), expected.defined()) << what;
  if (!found.defined()) return;
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  const Tensor a = found.detach().to(at::kDouble), b = expected.detach().to(at::kDouble);
  const Tensor over = (a - b).abs() - tolerance.rtol * b.abs();
  const double worst = over.numel() ? over.max().item<double>() : 0;
  EXPECT_LE(worst, tolerance.atol) << what;  // a NaN fails too
}

// `inputs` in float64 are rounded to `types`, the kernel runs on those, and the reference on their values in
// float64. Gradients must come back in the types of their inputs.
inline void expect_like_reference(const TensorFunction& kernel, const TensorFunction& reference,
                                  const Tensors& inputs, const std::vector<at::ScalarType>& types,
                                  Tolerance value, Tolerance gradient) {
  Tensors narrow, wide;
  for (size_t i = 0; i < inputs.size(); ++i) {
    narrow.push_back(inputs[i].defined() ? inputs[i].to(types[i]) : inputs[i]);
    wide.push_back(narrow[i].defined() ? narrow[i].to(inputs[i].scalar_type()) : inputs[i]);
  }
  Tensors found, expected;
  {
    at::NoGradGuard no_grad;
    found = kernel(narrow);
    expected = reference(wide);
  }
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    expect_close(found[i], expected[i], value, "output " + std::to_string(i));

  const Tensors cotangents = random_cotangents(found);
  Tensors exact;
  for (const Tensor& c : cotangents) exact.push_back(c.defined() ? c.to(at::kDouble) : c);
  const Tensors a = gradients(kernel, narrow, cotangents), b = gradients(reference, wide, exact);
  for (size_t i = 0; i < a.size(); ++i) {
    expect_close(a[i], b[i], gradient, "gradient " + std::to_string(i));
    if (a[i].defined()) {
      EXPECT_EQ(a[i].scalar_type(), types[i]) << "gradient " << i;
    }
  }
}

}  // namespace mneme
