#include "tensor/tensor.h"

#include <ATen/Context.h>

#include <array>
#include <utility>

#include "base/error.h"

namespace mneme {
namespace {

struct Name {
  const char* brief;
  const char* full;
  at::ScalarType type;
};
constexpr std::array<Name, 9> kNames{{{"fp32", "float32", at::kFloat},
                                      {"bf16", "bfloat16", at::kBFloat16},
                                      {"fp16", "float16", at::kHalf},
                                      {"fp64", "float64", at::kDouble},
                                      {"i64", "int64", at::kLong},
                                      {"i32", "int32", at::kInt},
                                      {"i16", "int16", at::kShort},
                                      {"i8", "int8", at::kChar},
                                      {"bool", "bool", at::kBool}}};

}  // namespace

std::string describe(const Tensor& t) {
  if (!t.defined()) return "undefined";
  std::string out = "[";
  for (int64_t i = 0; i < t.dim(); ++i) out += (i ? ", " : "") + std::to_string(t.size(i));
  return out + "] " + dtype_name(t.scalar_type());
}

at::ScalarType parse_dtype(const std::string& name) {
  for (const Name& n : kNames) {
    if (at::isFloatingType(n.type) && (name == n.brief || name == n.full)) return n.type;
  }
  throw Error(Kind::usage, "unknown dtype '" + name + "'", "use one of fp32, bf16, fp16, fp64");
}

std::string dtype_name(at::ScalarType dtype) {
  for (const Name& n : kNames) {
    if (n.type == dtype) return n.full;
  }
  return at::toString(dtype);
}

at::ScalarType compute_dtype(const std::string& name, at::Device device) {
  if (name != "auto") return parse_dtype(name);
#if defined(__x86_64__)
  const bool cpu = __builtin_cpu_supports("avx512bf16");  // every CPU with AMX has it as well
#else
  const bool cpu = false;
#endif
  return device.is_cuda() || cpu ? at::kBFloat16 : at::kFloat;
}

at::Device parse_device(const std::string& name) {
  if (name == "auto")
    return at::Device(at::hasCUDA() && at::detail::getCUDAHooks().getNumGPUs() > 0 ? at::kCUDA : at::kCPU);
  if (name == "cpu") return at::Device(at::kCPU);
  const bool cuda = name == "cuda" || (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 8 &&
                                       name.find_first_not_of("0123456789", 5) == std::string::npos);
  if (!cuda) throw Error(Kind::usage, "unknown device '" + name + "'", "use auto, cpu, cuda or cuda:N");
  const long count = at::hasCUDA() ? static_cast<long>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
  const int index = name.size() > 5 ? std::stoi(name.substr(5)) : 0;
  if (index >= count) {
    throw Error(
        Kind::usage,
        "device '" + name + "' is not there: this machine shows " + std::to_string(count) + " CUDA devices",
        count ? "use a smaller index" : "use --device cpu, or link mneme with a libtorch that has CUDA");
  }
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

}  // namespace mneme
