// Matrix multiplication with AMX: 2 x 2 tiles of 16 x 16 sums, fed by two tiles of A and two of B a step.
#include <immintrin.h>

#include "ops/gemm_kernels.h"

namespace mneme::gemm {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0 to 3 are sums, 4 and 5 A, 6 and 7 B. `rows`: of A and of the sums.
void configure(uint8_t rows) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = i < 6 ? rows : 16;
  }
  // The intrinsic declares eight bytes of its operand only; without this the rest may be optimised away.
  asm volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

void begin() { configure(16); }

void end() { _tile_release(); }

// A passes through L1 once per panel while the panel's piece of B stays: hence the streaming hint for A
// alone.
void block(const Bf16* a, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch prefetch) {
  constexpr int kRow = kBlock * sizeof(float), kHalf = kStep / 2;
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, c, kRow);
    _tile_loadd(1, c + 16, kRow);
    _tile_loadd(2, c + 16 * kBlock, kRow);
    _tile_loadd(3, c + 16 * kBlock + 16, kRow);
  }
  const char* next = prefetch.next;
  for (int64_t s = 0; s < steps; ++s, a += kStep, b += kStep) {
    _tile_stream_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + kHalf, 64);
    _tile_stream_loadd(5, a + kHalf, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    for (int64_t i = 0; i < prefetch.lines; ++i, next += 64) _mm_prefetch(next, _MM_HINT_T1);
  }
  _tile_stored(0, c, kRow);
  _tile_stored(1, c + 16, kRow);
  _tile_stored(2, c + 16 * kBlock, kRow);
  _tile_stored(3, c + 16 * kBlock + 16, kRow);
}

// Up to 16 rows: two tiles of sums for the even steps, two for the odd ones, for a sum is ready only after 52
// cycles. Bytes decide here, not products, so the tiles of A keep their 16 rows only if x has them.
void rows(const Bf16* x, int64_t m, const Bf16* b, float* c, int64_t steps) {
  constexpr int kHalf = kStep / 2, kRow = kBlock * sizeof(float);
  const int64_t stride = steps * kBlock * static_cast<int64_t>(sizeof(Bf16));
  alignas(64) float odd[16 * kBlock];
  configure(static_cast<uint8_t>(m));
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  int64_t s = 0;
  for (; s + 2 <= steps; s += 2, x += 2 * kBlock, b += 2 * kStep) {
    _tile_loadd(4, x, stride);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kHalf, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, x + kBlock, stride);
    _tile_loadd(6, b + kStep, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(7, b + kStep + kHalf, 64);
    _tile_dpbf16ps(3, 5, 7);
  }
  if (s < steps) {
    _tile_loadd(4, x, stride);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kHalf, 64);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, c, kRow);
  _tile_stored(1, c + 16, kRow);
  _tile_stored(2, odd, kRow);
  _tile_stored(3, odd + 16, kRow);
  for (int64_t i = 0; i < m * kBlock; i += 16) {
    _mm512_storeu_ps(c + i, _mm512_add_ps(_mm512_loadu_ps(c + i), _mm512_loadu_ps(odd + i)));
  }
}

int64_t spin(int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return rounds * 4 * 16 * 16 * 32;
}

Kernels make() {
  Kernels table = avx512_kernels(true, true);
  table.name = "amx";
  table.begin = begin;
  table.end = end;
  table.block = block;
  table.few = 16;
  table.rows = rows;
  table.spin = spin;
  return table;
}

}  // namespace

const Kernels& amx_kernels() {
  static const Kernels table = make();
  return table;
}

}  // namespace mneme::gemm
