// What the drivers of landmark attention ask of the instruction sets, besides products and packing, which are
// those of attention_kernels.h. No libtorch here, no inline functions: see there.
//
// Everything happens on tiles [keys, 32 lanes], a lane being one query in one head, so that a softmax runs
// down the keys and lanes never mix. Exponents are base 2, of  score * scale.
#pragma once

#include <cstdint>

namespace mneme::landmark {

constexpr int64_t kLanes = 32;
constexpr float kNothing = -1e30f;  // the maximum of no scores

// Which of the keys [0, n) a lane sees: lo <= key < hi. Null: all of them.
struct Range {
  const int32_t* lo = nullptr;  // [32]
  const int32_t* hi = nullptr;
};

// Where weights go for the product with the values: two panels of 16 lanes (attention_kernels.h), `words`
// deep.
struct Panel {
  uint32_t* data = nullptr;
  int64_t words = 0;
};

// The same, and as rows [keys, words over lanes] at this tile's words, for the products that sum over lanes.
struct Outputs {
  uint32_t *p = nullptr, *ds = nullptr;
  int64_t stride = 0;  // words
  Panel panel;         // of ds
};

struct Kernels {
  bool pairs;  // words hold two bf16 numbers, else one fp32

  // m, z: running maximum and sum of 2^(score * scale - m) over the keys seen.
  void (*collect)(const float* s, int64_t n, float scale, Range range, float* m, float* z);
  // The same, with the weights 2^(score * scale - m) (times `factor` [n, 32], if any) to the panel from its
  // top. What was summed under the former maximum must be multiplied by `rescale`. n even.
  void (*advance)(const float* s, int64_t n, float scale, Range range, const float* factor, float* m,
                  float* z, float* rescale, Panel panel);
  // A whole block at places [first, first + n), first even: its softmax times `won` [32]. Spoils s.
  void (*spread)(float* s, int64_t first, int64_t n, float scale, const float* won, const float* factor,
                 Panel panel);
  // w = 2^(score * scale - m) for the keys below `seen` [32], else 0.
  void (*gates)(const float* s, int64_t n, float scale, const int32_t* seen, const float* m, float* w);

  // acc [rows, 32] *= by [32]; acc += add * by.
  void (*scale)(float* acc, int64_t rows, const float* by);
  void (*fold)(float* acc, const float* add, int64_t rows, const float* by);
  // Lanes of acc [width, 32], times by, as rows of fp32 or bf16 (`half`); null addresses are skipped.
  void (*store)(const float* acc, int64_t width, const float* by, void* const* rows, bool half);
  // The dot products of rows.
  void (*dots)(const void* const* a, const void* const* b, int64_t width, bool half, float* out);
  // The same of one row with n others.
  void (*line)(const void* a, const void* const* b, int64_t n, int64_t width, bool half, float* out);

  // Backward. g: sum of 2^(score * scale - m) * dp. `whole` starts afresh and leaves the weights 2^(..) in s.
  void (*whole)(float* s, const float* dp, int64_t n, float scale, float* m, float* z, float* g);
  void (*collect_both)(const float* s, const float* dp, int64_t n, float scale, float* m, float* z, float* g);
  // w = s * by for a block at places [first, first + n); ds = w * (dp - less).
  void (*apply)(const float* s, const float* dp, int64_t first, int64_t n, const float* by, const float* less,
                const float* factor, const Outputs& out);
  // The same with w = 2^(score * scale - m) * by for the keys seen, else 0.
  void (*apply_range)(const float* s, const float* dp, int64_t first, int64_t n, float scale, Range range,
                      const float* m, const float* by, const float* less, const float* factor,
                      const Outputs& out);
  // ds given: x [n, 32] to rows and panel.
  void (*convert)(const float* x, int64_t n, const Outputs& out);
  // dp *= factor.
  void (*multiply)(float* dp, const float* factor, int64_t n);

  // Rows of `width` elements at addresses (null: zeros), turned: [width, stride] words along the rows.
  // Written up to multiples of 16 in both directions.
  void (*turn_rows)(uint32_t* to, int64_t stride, const void* const* rows, int64_t count, int64_t width,
                    bool half);
};

extern const Kernels kBaseline, kAvx2, kAvx512, kAvx512Pairs;

}  // namespace mneme::landmark
