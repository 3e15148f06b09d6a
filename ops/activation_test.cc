#include "ops/activation.h"

#include "base/error.h"
#include "ops/elementwise_cases.h"

namespace mneme {
namespace {

at::TensorOptions f64() { return at::TensorOptions(at::kDouble); }

const std::vector<Activation> kAll{Activation::relu, Activation::silu, Activation::gelu,
                                   Activation::gelu_tanh};

TensorFunction function_of(Activation f) {
  return [f](const Tensors& in) { return Tensors{activate(f, in[0])}; };
}
const TensorFunction kSwiglu = [](const Tensors& in) { return Tensors{swiglu(in[0], in[1])}; };
const TensorFunction kPacked = [](const Tensors& in) { return Tensors{swiglu_packed(in[0])}; };

// No point within two steps of relu's kink.
Tensor points() { return at::linspace(-6.05, 6, 50, f64()); }

TEST(Activation, ReferencesHaveTheRightGradients) {
  at::manual_seed(1);
  for (const Activation f : kAll) EXPECT_TRUE(gradients_match(function_of(f), {points()}));
  EXPECT_TRUE(gradients_match(kSwiglu, {at::randn({3, 7}, f64()), at::randn({3, 7}, f64())}));
  EXPECT_TRUE(gradients_match(kPacked, {at::randn({3, 14}, f64())}));
}

TEST(Activation, KernelsAgreeWithTheReferences) {
  at::manual_seed(2);
  at_every_level([] {
    for (const Activation f : kAll) {
      // Every length up to two vectors and a bit, and the whole range where the functions are not flat.
      for (const int64_t n : {1, 2, 7, 15, 16, 17, 33, 70}) {
        SCOPED_TRACE(std::to_string(static_cast<int>(f)) + ", " + std::to_string(n));
        const Tensor x = at::randn({n}, f64()) * 3;
        expect_like_reference(function_of(f), function_of(f), {x}, {at::kFloat}, {3e-7, 4e-7}, {3e-6, 1e-6});
        expect_like_reference(function_of(f), function_of(f), {x}, {at::kBFloat16}, {1e-4, 4e-3},
                              {1e-3, 4e-3});
      }
      const Tensor x = at::linspace(-14, 14, 20001, f64());
      expect_like_reference(function_of(f), function_of(f), {x}, {at::kFloat}, {3e-7, 4e-7}, {3e-6, 1e-6});
    }
  });
}

TEST(Activation, SmallTailsKeepTheirRelativePrecision) {
  at_every_level([] {
    const Tensor x = at::linspace(-8, -2, 600, f64());
    const Tensor narrow = x.to(at::kFloat), wide = narrow.to(at::kDouble);
    const Tensor phi = at::special_erfcx(wide * -std::sqrt(0.5)) * (wide * wide * -0.5).exp() * 0.5;
    expect_close(activate(Activation::gelu, narrow).to(at::kDouble) / (wide * phi), at::ones_like(x),
                 {4e-6, 0}, "gelu");
    expect_close(activate(Activation::silu, narrow).to(at::kDouble) / at::silu(wide), at::ones_like(x),
                 {1e-6, 0}, "silu");
  });
}

TEST(Activation, ExtremesStayFinite) {
  at_every_level([] {
    const Tensor x = at::tensor({-1e4, -200., -104., -90., -88., 88., 89., 200., 1e4}, f64());
    for (const Activation f : kAll) {
      const Tensor expected = activate_reference(f, x);
      expect_close(activate(f, x.to(at::kFloat)), expected, {1e-30, 1e-6}, "value");
      const Tensors g = gradients(function_of(f), {x.to(at::kFloat)}, {at::ones({9})});
      expect_close(g[0], (x > 0).to(at::kDouble), {1e-30, 1e-6}, "gradient");
    }
  });
}

TEST(Activation, NansStay) {
  at_every_level([] {
    for (const Activation f : kAll) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        EXPECT_TRUE(activate(f, at::full({19}, std::nan(""), type)).isnan().all().item<bool>());
      }
    }
  });
}

TEST(Activation, SwigluAgreesWithTheReference) {
  at::manual_seed(3);
  at_every_level([] {
    for (const int64_t width : {1, 5, 16, 50, 200}) {
      const Tensor g = at::randn({2, 3, width}, f64()) * 2, u = at::randn({2, 3, width}, f64());
      const Tensor both = at::cat({g, u}, -1);
      expect_like_reference(kSwiglu, kSwiglu, {g, u}, {at::kFloat, at::kFloat}, {5e-7, 1e-6}, {2e-6, 1e-6});
      expect_like_reference(kSwiglu, kSwiglu, {g, u}, {at::kBFloat16, at::kBFloat16}, {1e-4, 4e-3},
                            {1e-3, 4e-3});
      expect_like_reference(kPacked, kPacked, {both}, {at::kFloat}, {5e-7, 1e-6}, {2e-6, 1e-6});
    }
  });
}

TEST(Activation, SwigluTakesHalvesOfOneProjection) {
  at::manual_seed(4);
  const Tensor both = at::randn({4, 6, 64});
  const Tensor g = both.narrow(-1, 0, 32), u = both.narrow(-1, 32, 32);
  const Tensor expected = swiglu(g.contiguous(), u.contiguous());
  EXPECT_TRUE(at::equal(swiglu(g, u), expected));
  EXPECT_TRUE(at::equal(swiglu_packed(both), expected));
  EXPECT_TRUE(at::equal(swiglu(g.transpose(0, 1), u.transpose(0, 1)), expected.transpose(0, 1)));
  EXPECT_TRUE(at::equal(swiglu(g.select(1, 2), u.select(1, 2)), expected.select(1, 2)));
}

TEST(Activation, EmptyInputs) {
  EXPECT_EQ(activate(Activation::silu, at::zeros({0, 3})).sizes(), at::IntArrayRef({0, 3}));
  EXPECT_EQ(swiglu_packed(at::zeros({2, 0})).sizes(), at::IntArrayRef({2, 0}));
  EXPECT_THROW(swiglu_packed(at::zeros({2, 3})), Error);
  EXPECT_THROW(swiglu(at::zeros({2, 3}), at::zeros({3})), Error);
}

}  // namespace
}  // namespace mneme
