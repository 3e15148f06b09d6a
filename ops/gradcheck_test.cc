#include "ops/gradcheck.h"

namespace mneme {
namespace {

at::TensorOptions f64() { return at::TensorOptions(at::kDouble); }

TEST(Gradcheck, AcceptsRightGradients) {
  at::manual_seed(3);
  const Tensor a = at::randn({3, 4}, f64()), b = at::randn({4, 2}, f64());
  auto f = [](const Tensors& in) { return Tensors{in[0].tanh().matmul(in[1]), in[1].exp()}; };
  EXPECT_TRUE(gradients_match(f, {a, b}));
}

TEST(Gradcheck, AcceptsInputsThatCarryNoGradient) {
  const Tensor x = at::linspace(-1, 1, 7, f64()), index = at::tensor({2, 0, 5}, at::kLong);
  auto f = [](const Tensors& in) { return Tensors{in[0].index_select(0, in[1]).sin()}; };
  EXPECT_TRUE(gradients_match(f, {x, index, Tensor()}));
}

TEST(Gradcheck, CatchesAGradientThatIsSlightlyWrong) {
  const Tensor x = at::linspace(0.5, 1, 7, f64());
  // Autograd sees 1.0001 x^2, the value is x^2.
  auto f = [](const Tensors& in) {
    const Tensor y = in[0] * in[0];
    return Tensors{y.detach() + (y - y.detach()) * 1.0001};
  };
  EXPECT_FALSE(gradients_match(f, {x}));
}

TEST(Gradcheck, CatchesAMissingGradient) {
  const Tensor x = at::linspace(0.5, 1, 7, f64());
  auto f = [](const Tensors& in) { return Tensors{in[0].detach().exp(), in[0] * 2}; };
  EXPECT_FALSE(gradients_match(f, {x}));
}

TEST(Gradcheck, LeavesInputsAlone) {
  const Tensor x = at::linspace(0.5, 1, 7, f64()), before = x.clone();
  EXPECT_TRUE(gradients_match([](const Tensors& in) { return Tensors{in[0].log()}; }, {x}));
  EXPECT_TRUE(at::equal(x, before));
  EXPECT_FALSE(x.requires_grad());
}

}  // namespace
}  // namespace mneme
