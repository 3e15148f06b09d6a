#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

TEST(Tensor, DescribesShapeAndType) {
  EXPECT_EQ(describe(at::zeros({2, 0}, at::kBFloat16)), "[2, 0] bfloat16");
  EXPECT_EQ(describe(Tensor()), "undefined");
}

TEST(Tensor, ParsesTypesAndRefusesOthers) {
  EXPECT_EQ(parse_dtype("bf16"), at::kBFloat16);
  EXPECT_EQ(parse_dtype("float64"), at::kDouble);
  EXPECT_THROW(parse_dtype("int64"), Error);
}

TEST(Tensor, AutoPicksTypesByDevice) {
  EXPECT_EQ(compute_dtype("auto", at::Device(at::kCUDA)), at::kBFloat16);
  EXPECT_EQ(compute_dtype("fp64", at::Device(at::kCPU)), at::kDouble);
  const at::ScalarType here = compute_dtype("auto", parse_device("cpu"));
  EXPECT_TRUE(here == at::kBFloat16 || here == at::kFloat);
  EXPECT_THROW(compute_dtype("int", at::Device(at::kCPU)), Error);
}

TEST(Tensor, RefusesDevicesThatAreNotThere) {
  EXPECT_EQ(parse_device("cpu").type(), at::kCPU);
  for (const char* name : {"cuda:", "cuda:x", "cuda:99", "gpu", ""})
    EXPECT_THROW(parse_device(name), Error) << name;
}

}  // namespace
}  // namespace mneme
