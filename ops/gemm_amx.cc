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

void begin() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  // The intrinsic declares eight bytes of its operand only; without this the rest may be optimised away.
  asm volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

void end() { _tile_release(); }

// A streams through L1 once per panel while B's part of the panel stays: hence the streaming hint for A
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

Kernels make() {
  Kernels table = avx512_kernels(true);
  table.name = "amx";
  table.begin = begin;
  table.end = end;
  table.block = block;
  return table;
}

}  // namespace

const Kernels& amx_kernels() {
  static const Kernels table = make();
  return table;
}

}  // namespace mneme::gemm
