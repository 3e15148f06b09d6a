#include "ops/rotary.h"

#include "base/error.h"
#include "ops/elementwise.h"
#include "ops/rotary_impl.h"

namespace mneme {

void check_rotation(const Tensor& x, const Rotation& rotation) {
  const Tensor& c = rotation.cos;
  MNEME_CHECK(x.dim() == 4 && c.dim() == 3 && c.sizes() == rotation.sin.sizes(),
              describe(x) + " by " + describe(c));
  MNEME_CHECK(
      (c.size(0) == x.size(0) || c.size(0) == 1) && c.size(1) == x.size(1) && 2 * c.size(2) <= x.size(3),
      describe(x) + " by " + describe(c));
}

bool rotate_kernel_takes(const Tensor& x, const Rotation& rotation) {
  return kernel_type(x) && rotation.cos.device().is_cpu() && rotation.cos.scalar_type() == at::kFloat;
}

Tensor rotate_reference(const Tensor& x, const Rotation& rotation) {
  const int64_t pairs = rotation.cos.size(-1), rest = x.size(-1) - 2 * pairs;
  const Tensor cos = rotation.cos.unsqueeze(2), sin = rotation.sin.unsqueeze(2);  // [B, T, 1, R/2]
  const Tensor turned = x.narrow(-1, 0, 2 * pairs).to(arithmetic_type(x));
  Tensor out;
  if (rotation.interleaved) {
    const Tensor two = turned.unflatten(-1, {pairs, 2}), a = two.select(-1, 0), b = two.select(-1, 1);
    out = at::stack({a * cos - b * sin, b * cos + a * sin}, -1).flatten(-2);
  } else {
    const Tensor a = turned.narrow(-1, 0, pairs), b = turned.narrow(-1, pairs, pairs);
    out = at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
  }
  out = out.to(x.scalar_type());
  return rest ? at::cat({out, x.narrow(-1, 2 * pairs, rest)}, -1) : out;
}

void rotate_into(const Tensor& x, const Rotation& rotation, bool inverse, const Tensor& y) {
  MNEME_CHECK(x.stride(3) == 1 && y.stride(3) == 1);
  const Tensor cos = rotation.cos.contiguous(), sin = rotation.sin.contiguous();
  const int64_t tokens = x.size(1), heads = x.size(2), pairs = cos.size(2), bytes = x.element_size();
  const bool shared = cos.size(0) == 1;
  const ElementwiseKernels& table = elementwise_kernels();
  const auto kernel = (rotation.interleaved ? table.rotate_interleaved : table.rotate_half)[type_index(x)];
  const auto offset = [&](const Tensor& t, int64_t b, int64_t i) {
    return (b * t.stride(0) + i * t.stride(1)) * bytes;
  };
  at::parallel_for(0, x.size(0) * tokens, row_grain(heads * x.size(3)), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t b = n / tokens, i = n % tokens, angle = (shared ? i : n) * pairs;
      kernel({static_cast<const char*>(x.data_ptr()) + offset(x, b, i),
              static_cast<char*>(y.data_ptr()) + offset(y, b, i), heads, x.stride(2), y.stride(2), x.size(3),
              pairs, cos.data_ptr<float>() + angle, sin.data_ptr<float>() + angle, inverse});
    }
  });
}

void rotate_(const Tensor& x, const Rotation& rotation) {
  check_rotation(x, rotation);
  MNEME_CHECK(!(at::GradMode::is_enabled() && x.requires_grad()), "rotate_ inside autograd");
  if (!rotate_kernel_takes(x, rotation) || x.stride(3) != 1) {
    x.copy_(rotate_reference(x, rotation));
    return;
  }
  rotate_into(x, rotation, /*inverse=*/false, x);
  x.unsafeGetTensorImpl()->bump_version();
}

}  // namespace mneme
