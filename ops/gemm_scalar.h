// The routines of ops/gemm_kernels.h in plain loops: all of the baseline level, and the packing and storing
// that the avx2 level borrows. In an anonymous namespace on purpose: each including file compiles its own for
// its instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/gemm_kernels.h"

namespace mneme::gemm {
namespace {

[[maybe_unused]] inline float widen(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// To nearest, ties to even; a NaN stays one.
[[maybe_unused]] inline Bf16 narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<Bf16>(x != x ? 0x7fc0u : rounded);
}

[[maybe_unused]] inline Bf16 narrow(Bf16 x) { return x; }

[[maybe_unused]] inline int64_t steps_of(int64_t depth) { return (depth + kBlock - 1) / kBlock; }

// Where B keeps element (k, n) of a step.
[[maybe_unused]] inline int64_t b_place(int64_t k, int64_t n) {
  return (n / 16) * (kStep / 2) + (k / 2) * kBlock + (n % 16) * 2 + (k % 2);
}

[[maybe_unused]] void scalar_pack_a(const Bf16* source, int64_t stride, int64_t count, int64_t depth,
                                    Bf16* out) {
  std::memset(out, 0, sizeof(Bf16) * steps_of(depth) * kStep);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t k = 0; k < depth; ++k) {
      out[(k / kBlock) * kStep + r * kBlock + k % kBlock] = source[r * stride + k];
    }
  }
}

[[maybe_unused]] void scalar_pack_a_t(const Bf16* source, int64_t stride, int64_t count, int64_t depth,
                                      Bf16* out) {
  std::memset(out, 0, sizeof(Bf16) * steps_of(depth) * kStep);
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t r = 0; r < count; ++r) {
      out[(k / kBlock) * kStep + r * kBlock + k % kBlock] = source[k * stride + r];
    }
  }
}

template <class T>
void scalar_pack_b_nk(const T* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  std::memset(out, 0, sizeof(Bf16) * steps_of(depth) * kStep);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t k = 0; k < depth; ++k) {
      out[(k / kBlock) * kStep + b_place(k % kBlock, n)] = narrow(source[n * stride + k]);
    }
  }
}

template <class T>
void scalar_pack_b_kn(const T* source, int64_t stride, int64_t count, int64_t depth, Bf16* out) {
  std::memset(out, 0, sizeof(Bf16) * steps_of(depth) * kStep);
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t n = 0; n < count; ++n) {
      out[(k / kBlock) * kStep + b_place(k % kBlock, n)] = narrow(source[k * stride + n]);
    }
  }
}

[[maybe_unused]] void scalar_store_bf16(const float* c, int64_t rows, int64_t columns, const float* bias,
                                        Bf16* out, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < columns; ++n) {
      out[r * stride + n] = narrow(c[r * kBlock + n] + (bias ? bias[n] : 0.0f));
    }
  }
}

[[maybe_unused]] void scalar_store_f32(const float* c, int64_t rows, int64_t columns, const float* bias,
                                       float* out, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < columns; ++n) out[r * stride + n] = c[r * kBlock + n] + (bias ? bias[n] : 0.0f);
  }
}

[[maybe_unused]] void scalar_add_f32(const float* c, int64_t rows, int64_t columns, float* out,
                                     int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < columns; ++n) out[r * stride + n] += c[r * kBlock + n];
  }
}

[[maybe_unused]] void nothing() {}

}  // namespace
}  // namespace mneme::gemm
