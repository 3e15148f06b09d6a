// The innermost routines of matrix multiplication, one table of them per CPU level. Internal to
// ops/gemm_*.cc. Plain types only: the files that fill these tables are compiled for their instruction set,
// and an inline function of the standard library or of libtorch compiled there could be picked by the linker
// for everyone.
//
// Everything moves in blocks of 32 x 32. Packed operands, in bf16 (padding is zeros):
//   A  32 rows:    [step][32 rows][32 of K]                         2 KB a step of 32 of K; or in fp32: 4 KB
//   B  32 columns: [step][2 halves][16 pairs of K][16 columns][2]   2 KB a step, as AMX wants it
// Products are summed in fp32 blocks C [32][32].
#pragma once

#include <cstdint>

namespace mneme::gemm {

using Bf16 = uint16_t;  // the bits

constexpr int64_t kBlock = 32;                    // rows, columns and depth of a block
constexpr int64_t kStep = kBlock * kBlock;        // elements of a packed operand per step
constexpr int64_t kTileFloats = kBlock * kBlock;  // elements of a C block

// Bytes that a kernel brings into L2 while it computes: `lines` cache lines a step, starting at `next`.
struct Prefetch {
  const char* next = nullptr;
  int64_t lines = 0;
};

struct Kernels {
  const char* name;
  // Around the use of `block` on a thread (AMX keeps a tile configuration).
  void (*begin)();
  void (*end)();
  int64_t a_words;  // of 16 bits an element of packed A: 1, or 2 where `block` wants fp32
  // c = (fresh ? 0 : c) + a b over `steps`.
  void (*block)(const Bf16* a, const Bf16* b, float* c, int64_t steps, bool fresh, Prefetch prefetch);
  // c[0..m) = x b for m <= few rows; x [m][steps * 32], not packed.
  int64_t few;
  void (*rows)(const Bf16* x, int64_t m, const Bf16* b, float* c, int64_t steps);

  // Products on registers alone, to know the limit; returns how many multiply-adds they were.
  int64_t (*spin)(int64_t rounds);

  // Packing of one block row or panel: `count` <= 32 rows or columns, `depth` of K, rows of the source
  // `stride` elements apart. a: source [count, depth]; a_t: source [depth, count]; b_nk: source [count,
  // depth]; b_kn: source [depth, count]. *_f32 round fp32 to the nearest bf16.
  void (*pack_a)(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);
  void (*pack_a_t)(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);
  void (*pack_b_nk)(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);
  void (*pack_b_kn)(const Bf16* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);
  void (*pack_b_nk_f32)(const float* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);
  void (*pack_b_kn_f32)(const float* source, int64_t stride, int64_t count, int64_t depth, Bf16* out);

  // A C block into rows of the output: out = c + bias (bias may be null); add: out += c.
  void (*store_bf16)(const float* c, int64_t rows, int64_t columns, const float* bias, Bf16* out,
                     int64_t stride);
  void (*store_f32)(const float* c, int64_t rows, int64_t columns, const float* bias, float* out,
                    int64_t stride);
  void (*add_f32)(const float* c, int64_t rows, int64_t columns, float* out, int64_t stride);
};

const Kernels& baseline_kernels();
const Kernels& avx2_kernels();
// With vdpbf16ps; with the instructions that round to bf16 (needed by the former).
const Kernels& avx512_kernels(bool multiplies, bool rounds);
const Kernels& amx_kernels();

// The table of the level in force.
const Kernels& kernels();

}  // namespace mneme::gemm
