// The innermost routines of fp32 matrix multiplication, one table of them per instruction set. Internal to
// ops/sgemm*.cc. Plain types only: the files that fill these tables are compiled for their instruction set,
// and an inline function of the standard library or of libtorch compiled there could be picked by the linker
// for everyone.
//
// C is computed in tiles of up to `rows` x `columns` that stay in registers while a chunk of the depth
// passes.
//   A  a strip of rows: [row][kLeftStride] as the rows lie, or turned, [k][`turned_stride`], as the columns
//      lie: no transposition either way
//   B  panels of columns: [k][`columns`], padded with zeros
#pragma once

#include <cstdint>

namespace mneme::sgemm {

constexpr int64_t kDepth = 256;               // of a chunk: part of what the result is (ops/sgemm.h)
constexpr int64_t kLeftStride = kDepth + 16;  // so that rows do not meet in the same sets of L1

// C = start + a b for one strip of rows.
struct Strip {
  const float* a;
  const float* b;  // panels after each other
  int64_t depth;
  float* c;
  int64_t stride, columns;
  const float* start;  // what the sums are added to: C itself, a row of biases (stride 0), or null: nothing
  int64_t start_stride;
};

struct Kernels {
  int64_t rows, columns, turned_stride;
  void (*strip)(int64_t rows, bool turned, const Strip& strip);

  // A: source [rows, depth], or turned, [depth, rows]. B: source [depth, columns], or turned, [columns,
  // depth]. Rows of the source are `stride` elements apart.
  void (*pack_left)(const float* source, int64_t stride, int64_t rows, int64_t depth, float* out);
  void (*pack_left_turned)(const float* source, int64_t stride, int64_t rows, int64_t depth, float* out);
  void (*pack_right)(const float* source, int64_t stride, int64_t columns, int64_t depth, float* out);
  void (*pack_right_turned)(const float* source, int64_t stride, int64_t columns, int64_t depth, float* out);
};

extern const Kernels kBaseline, kAvx2, kAvx512;

}  // namespace mneme::sgemm
