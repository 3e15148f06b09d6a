// The bulk fills of base/random, compiled once per instruction set (random_base.cc, random_avx2.cc,
// random_avx512.cc). Numbers come in tiles of 16 Philox blocks, one block per SIMD lane. Nothing here may be
// shared between those files (hence the unnamed namespace and no std templates: the linker would pick one
// copy for all), and all of them are compiled without contraction of a * b + c, so that every set gives the
// same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mneme::random_internal {

struct Stream {
  uint32_t key[2];
  uint32_t high[2];  // upper half of every counter; the lower half is the number of the block
};

// Each writes whole tiles: 64 words, or 128 bytes of a mask, a tile. `tile` is the number of the first.
struct Kernels {
  void (*bits)(const Stream&, uint64_t tile, size_t tiles, uint32_t* out);
  void (*uniform)(const Stream&, uint64_t tile, size_t tiles, float* out);
  void (*normal)(const Stream&, uint64_t tile, size_t tiles, float mean, float deviation, float* out);
  void (*keep)(const Stream&, uint64_t tile, size_t tiles, uint32_t threshold, uint8_t* out);
};

extern const Kernels kBaseKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvx512Kernels;
#endif

constexpr int kLanes = 16;
constexpr size_t kTileWords = 4 * kLanes;  // word w of block b is element 16 * w + b of the tile
constexpr size_t kTileMask = 8 * kLanes;   // two 16-bit halves of each word

#ifdef MNEME_RANDOM_KERNELS
namespace {

constexpr uint32_t kMultiplyA = 0xD2511F53, kMultiplyB = 0xCD9E8D57;
constexpr uint32_t kWeylA = 0x9E3779B9, kWeylB = 0xBB67AE85;

// All ten rounds of a lane stand in one body (the unrolled loop), so that the compiler keeps the lanes in
// registers.
inline void blocks(const Stream& s, uint64_t tile, uint32_t (&w)[4][kLanes]) {
  const auto low = static_cast<uint32_t>(tile * kLanes);  // a multiple of 16: adding the lane does not carry
  const auto high = static_cast<uint32_t>((tile * kLanes) >> 32);
  for (uint32_t i = 0; i < kLanes; ++i) {
    uint32_t c0 = low + i, c1 = high, c2 = s.high[0], c3 = s.high[1];
    uint32_t ka = s.key[0], kb = s.key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = static_cast<uint64_t>(c0) * kMultiplyA;
      const uint64_t b = static_cast<uint64_t>(c2) * kMultiplyB;
      c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ ka;
      c1 = static_cast<uint32_t>(b);
      c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ kb;
      c3 = static_cast<uint32_t>(a);
      ka += kWeylA;
      kb += kWeylB;
    }
    w[0][i] = c0;
    w[1][i] = c1;
    w[2][i] = c2;
    w[3][i] = c3;
  }
}

void bits(const Stream& s, uint64_t tile, size_t tiles, uint32_t* out) {
  for (size_t t = 0; t < tiles; ++t, out += kTileWords) {
    uint32_t w[4][kLanes];
    blocks(s, tile + t, w);
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < kLanes; ++i) out[j * kLanes + i] = w[j][i];
    }
  }
}

void uniform(const Stream& s, uint64_t tile, size_t tiles, float* out) {
  for (size_t t = 0; t < tiles; ++t, out += kTileWords) {
    uint32_t w[4][kLanes];
    blocks(s, tile + t, w);
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < kLanes; ++i) {
        out[j * kLanes + i] = static_cast<float>(static_cast<int32_t>(w[j][i] >> 8)) * 0x1p-24F;
      }
    }
  }
}

inline float as_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline uint32_t as_bits(float value) { return __builtin_bit_cast(uint32_t, value); }

// Natural logarithm of 0 < x <= 1, to 2 units in the last place: x = m 2^e with m in [sqrt(1/2), sqrt(2)),
// then log(1 + f) = f - f^2/2 + f^3 P(f), P a least-squares fit (coefficients of the Cephes library's logf).
inline float log_of(float x) {
  const uint32_t shifted = as_bits(x) - 0x3F3504F3;  // of sqrt(1/2)
  const auto e = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float f = as_float((shifted & 0x007FFFFF) + 0x3F3504F3) - 1.0F;
  float p = 7.0376836292e-2F;
  p = p * f - 1.1514610310e-1F;
  p = p * f + 1.1676998740e-1F;
  p = p * f - 1.2420140846e-1F;
  p = p * f + 1.4249322787e-1F;
  p = p * f - 1.6668057665e-1F;
  p = p * f + 2.0000714765e-1F;
  p = p * f - 2.4999993993e-1F;
  p = p * f + 3.3333331174e-1F;
  const float square = f * f;
  return e * 0.693359375F + (f + (f * square * p - 0.5F * square - e * 2.12194440e-4F));
}

// Box and Muller: two words give two normals.
inline void normal_pair(uint32_t a, uint32_t b, float& x, float& y) {
  const float u = (static_cast<float>(static_cast<int32_t>(a >> 1)) + 0.5F) * 0x1p-31F;
  const float radius = __builtin_sqrtf(-2.0F * log_of(u));
  // The angle is b 2^-32 turns: its quarter turn q, and the rest r within an eighth of a turn.
  const uint32_t q = (b + 0x20000000U) >> 30;
  const float r = static_cast<float>(static_cast<int32_t>(b - (q << 30))) * (0x1p-32F * 6.2831853071795864F);
  const float rr = r * r;
  const float sine = r + r * rr * (-1.6666654611e-1F + rr * (8.3321608736e-3F - rr * 1.9515295891e-4F));
  const float cosine =
      1.0F - 0.5F * rr +
      rr * rr * (4.166664568298827e-2F + rr * (-1.388731625493765e-3F + rr * 2.443315711809948e-5F));
  const float c = (q & 1) ? sine : cosine;
  const float d = (q & 1) ? cosine : sine;
  // cos: + - - +, sin: + + - - over the quarters.
  x = radius * as_float(as_bits(c) ^ (((q + 1) & 2) << 30));
  y = radius * as_float(as_bits(d) ^ ((q & 2) << 30));
}

void normal(const Stream& s, uint64_t tile, size_t tiles, float mean, float deviation, float* out) {
  for (size_t t = 0; t < tiles; ++t, out += kTileWords) {
    uint32_t w[4][kLanes];
    blocks(s, tile + t, w);
    for (int j = 0; j < 4; j += 2) {
      for (int i = 0; i < kLanes; ++i) {
        float x = 0, y = 0;
        normal_pair(w[j][i], w[j + 1][i], x, y);
        out[j * kLanes + i] = mean + deviation * x;
        out[(j + 1) * kLanes + i] = mean + deviation * y;
      }
    }
  }
}

void keep(const Stream& s, uint64_t tile, size_t tiles, uint32_t threshold, uint8_t* out) {
  for (size_t t = 0; t < tiles; ++t, out += kTileMask) {
    uint32_t w[4][kLanes];
    blocks(s, tile + t, w);
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < kLanes; ++i) {
        out[2 * j * kLanes + i] = static_cast<uint8_t>((w[j][i] & 0xFFFF) < threshold);
        out[(2 * j + 1) * kLanes + i] = static_cast<uint8_t>((w[j][i] >> 16) < threshold);
      }
    }
  }
}

}  // namespace
#endif  // MNEME_RANDOM_KERNELS

}  // namespace mneme::random_internal
