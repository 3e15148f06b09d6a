#include "io/gguf_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

constexpr int64_t kQ8Bytes = 2 + kGgmlBlock, kQ4Bytes = 2 + kGgmlBlock / 2;
constexpr int64_t kGrain = 512;  // blocks a thread takes at least

float scale_of(const uint8_t* block) {
  c10::Half scale;
  std::memcpy(&scale, block, sizeof scale);
  return scale;
}

template <class T>
void dequantise_q8_0(const uint8_t* bytes, T* out, int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const uint8_t* block = bytes + b * kQ8Bytes;
    const float scale = scale_of(block);
    const auto* q = reinterpret_cast<const int8_t*>(block + 2);
    T* to = out + b * kGgmlBlock;
    for (int64_t i = 0; i < kGgmlBlock; ++i) to[i] = static_cast<T>(scale * static_cast<float>(q[i]));
  }
}

template <class T>
void dequantise_q4_0(const uint8_t* bytes, T* out, int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const uint8_t* block = bytes + b * kQ4Bytes;
    const float scale = scale_of(block);
    T* to = out + b * kGgmlBlock;
    for (int64_t i = 0; i < kGgmlBlock / 2; ++i) {
      const int byte = block[2 + i];
      to[i] = static_cast<T>(scale * static_cast<float>((byte & 15) - 8));
      to[i + kGgmlBlock / 2] = static_cast<T>(scale * static_cast<float>((byte >> 4) - 8));
    }
  }
}

}  // namespace

std::string ggml_type_name(uint32_t type) {
  static constexpr const char* kNames[] = {
      "F32",   "F16",    "Q4_0", "Q4_1", "Q4_2", "Q4_3",    "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
      "Q3_K",  "Q4_K",   "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
      "IQ2_S", "IQ4_XS", "I8",   "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16"};
  return type < std::size(kNames) ? kNames[type] : "type " + std::to_string(type);
}

std::optional<GgmlType> ggml_type(uint32_t value) {
  for (const GgmlType type : {GgmlType::f32, GgmlType::f16, GgmlType::q4_0, GgmlType::q8_0, GgmlType::bf16}) {
    if (static_cast<uint32_t>(type) == value) return type;
  }
  return std::nullopt;
}

bool is_quantised(GgmlType type) { return type == GgmlType::q4_0 || type == GgmlType::q8_0; }

uint64_t ggml_bytes(GgmlType type, int64_t elements) {
  switch (type) {
    case GgmlType::f32:
      return static_cast<uint64_t>(elements) * 4;
    case GgmlType::f16:
    case GgmlType::bf16:
      return static_cast<uint64_t>(elements) * 2;
    case GgmlType::q4_0:
      return static_cast<uint64_t>(elements / kGgmlBlock * kQ4Bytes);
    case GgmlType::q8_0:
      return static_cast<uint64_t>(elements / kGgmlBlock * kQ8Bytes);
  }
  return 0;
}

std::optional<at::ScalarType> plain_dtype(GgmlType type) {
  if (type == GgmlType::f32) return at::kFloat;
  if (type == GgmlType::f16) return at::kHalf;
  if (type == GgmlType::bf16) return at::kBFloat16;
  return std::nullopt;
}

void dequantise(GgmlType type, const uint8_t* bytes, Tensor& out) {
  MNEME_CHECK(is_quantised(type) && out.is_contiguous() && out.numel() % kGgmlBlock == 0);
  const auto run = [&](auto* to) {
    at::parallel_for(0, out.numel() / kGgmlBlock, kGrain, [&](int64_t begin, int64_t end) {
      if (type == GgmlType::q8_0) {
        dequantise_q8_0(bytes, to, begin, end);
      } else {
        dequantise_q4_0(bytes, to, begin, end);
      }
    });
  };
  switch (out.scalar_type()) {
    case at::kFloat:
      return run(out.data_ptr<float>());
    case at::kHalf:
      return run(out.data_ptr<c10::Half>());
    case at::kBFloat16:
      return run(out.data_ptr<c10::BFloat16>());
    default:
      MNEME_CHECK(false, "dequantising to " + dtype_name(out.scalar_type()));
  }
}

void quantise_q8_0(const Tensor& values, uint8_t* bytes) {
  MNEME_CHECK(values.is_contiguous() && values.numel() % kGgmlBlock == 0);
  const float* from = values.data_ptr<float>();
  at::parallel_for(0, values.numel() / kGgmlBlock, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float* x = from + b * kGgmlBlock;
      float largest = 0;
      for (int64_t i = 0; i < kGgmlBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
      const float scale = largest / 127, inverse = scale > 0 ? 1 / scale : 0;
      const c10::Half stored(scale);
      uint8_t* block = bytes + b * kQ8Bytes;
      std::memcpy(block, &stored, sizeof stored);
      for (int64_t i = 0; i < kGgmlBlock; ++i) {
        block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
      }
    }
  });
}

}  // namespace mneme
