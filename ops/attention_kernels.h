// What the attention drivers ask of the instruction sets. No libtorch here, no inline functions: the files
// that implement it are compiled for different processors.
//
// Matrices are made of 32-bit words: an fp32 number, or a pair of bf16 numbers that are neighbours along the
// dimension summed over. A product C += A B takes A as `rows`, [M, words] row by row, and B as a `panel`: for
// each 16 columns, [words, 16]. Both come zero-padded to multiples of 16 in every direction, M included.
//
// Scores carry no scale; exponents are base 2, of  score * scale_log2.
#pragma once

#include <cstdint>

namespace mneme {

constexpr int64_t kTileQueries = 32;  // queries of a tile, in one or more heads
constexpr int64_t kBlockKeys = 128;   // keys of a block
constexpr int64_t kScoreStride = kBlockKeys + 16;
constexpr float kHidden = -1e30f;  // the score of a key that is not seen, and ...
constexpr float kLowest =
    -1e20f;  // ... what a row's maximum starts from, far above it, so that it weighs exactly 0

// How a tile of queries sees a block of keys.
struct Sights {
  int64_t queries = 0, keys = 0;  // real ones; the block's other columns up to a multiple of 32 are hidden
  bool causal = false;
  int64_t window = 0, keep = 0;     // keep: columns below it are exempt from the window
  int32_t position[kTileQueries];   // of a query relative to the block's first key ...
  int32_t lowest = 0, highest = 0;  // ... and their range over the real queries
  float slope[kTileQueries];        // ALiBi over scale
  bool alibi = false;
  // [32, kBlockKeys] (backward: [kBlockKeys, 32]) or null: added to the scores (biases over scale, masks),
  // and a factor of each weight after the softmax (dropout).
  const float* added = nullptr;
  const float* factor = nullptr;
};

// One tile of queries against one block of keys: the running softmax moves on by the block.
struct ForwardTile {
  const Sights* sights;
  const uint32_t* q;       // rows [32, words]
  const uint32_t* k;       // panel, its columns the keys
  const uint32_t* v;       // panel, its columns the width
  int64_t words, columns;  // of K: padded
  float scale_log2;
  float* score;  // [32, kScoreStride], scratch
  float* top;    // [32] largest score so far
  float* sum;    // [32, 16] partial sums of the weights
  float* out;    // [32, columns] weighted values so far
};

// A few queries (at most kDirectQueries) against a block whose keys lie as they are stored.
constexpr int64_t kDirectQueries = 16;
struct DirectTile {
  const Sights* sights;
  const uint32_t* q;     // rows [queries, words]
  const void* const* k;  // [keys] addresses of rows of K elements
  const void* const* v;
  int64_t width, words, columns;
  float scale_log2;
  float* score;
  float *top, *sum, *out;
};

// A tile of queries against keys [0, 32 n) of a block, keys down and queries across.
struct BackwardTile {
  const Sights* sights;
  const uint32_t *k, *v;     // rows [keys, words]
  const uint32_t *q, *dout;  // panels, their columns the tile's 32 queries: two of [words, 16]
  int64_t words;
  float scale_log2;
  const float *lse,
      *delta;        // [32]: lse in base 2, far above all scores for what is no query; dout . out - dlse
  float* score;      // [2, 2, 32, 32], scratch
  uint32_t *p, *ds;  // rows [keys, pair_stride] at this tile's words: weights and score gradients
  int64_t stride;
  uint32_t* ds_panel;   // its columns the queries: two of [panel_words, 16] at ...
  int64_t panel_words;  // ... this distance
};

struct AttentionKernels {
  bool pairs;       // words are pairs of bf16, else fp32
  void (*begin)();  // around each thread's work
  void (*end)();

  // Packing from `count` rows of `width` elements at addresses, fp32 or bf16 (`half`); a null address is a
  // row of zeros.
  void (*pack_rows)(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width,
                    bool half);
  // The panel whose columns are the rows given (count padded to 16): K^T.
  void (*pack_across)(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width,
                      bool half);
  // The panel that sums over the rows given: V. `words`: of count, padded.
  void (*pack_down)(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width,
                    bool half);

  void (*forward)(const ForwardTile& tile);
  void (*direct)(const DirectTile& tile, bool half);
  void (*backward)(const BackwardTile& tile);
  // Rows that are the columns of the rows given: K^T as `rows` [columns, words], summed over the rows given.
  void (*pack_turned)(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width,
                      bool half);

  // A row of results times `scale`, rounded to its type.
  void (*write_row)(void* to, const float* from, float scale, int64_t width, bool half);
  float (*dot)(const void* a, const void* b, int64_t width, bool half);
  // to [n, m] = from [m, n] transposed; m and n multiples of 16.
  void (*turn)(float* to, const float* from, int64_t m, int64_t n);
  // C [m, n] += rows [m, words] x panel; m, n, words multiples of 16. panel_words: the panel's depth.
  void (*product)(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                  int64_t panel_words, int64_t m, int64_t n, int64_t words);
  // The same with C = in place of C +=.
  void (*multiply)(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                   int64_t panel_words, int64_t m, int64_t n, int64_t words);
};

extern const AttentionKernels kAttentionBaseline, kAttentionAvx2, kAttentionAvx512, kAttentionAvx512Bf16,
    kAttentionAmx;

}  // namespace mneme
