// Attention: one joint softmax over several sources of keys and values.
//
//   o_t = sum_s sum_j w_sj v_sj,   w = softmax over all (s, j) seen by t of  scale * q_st . k_sj + ALiBi +
//   bias
//
// A source is the text itself, a memory, a cache: dense tensors or pages read in place, with its own rotation
// of the queries, its own visibility and a length per row. Rows of the batch are independent and may be
// ragged. It is not a place for rotation, for selecting what is read, or for separate or grouped softmaxes;
// `lse` lets several calls be merged or gated outside.
//
// Fast kernels never hold [B, H, T, S]; what they do not take (other devices and types, gradients of biases)
// runs in the reference, which any input may use and through which libtorch itself differentiates.
#pragma once

#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace mneme {

enum class Sight { causal, all };  // which keys of a source a query sees, before length, window and mask

struct KeyPage {  // part of one row's cache
  Tensor k, v;    // [G, P, K], rows of K contiguous
  int64_t begin = 0, count = 0;
};

struct Keys {
  Tensor q;     // [B, T, H, K] the queries as rotated for this source; undefined: the call's q
  Tensor k, v;  // [B, S, G, K], any strides with a contiguous last dimension
  std::vector<std::vector<KeyPage>>
      pages;  // instead of k and v: row b's pages in order; never differentiated
  Sight sight = Sight::causal;
  std::vector<int64_t> start;  // query t of row b stands at key start[b] + t and causally sees the keys up to
                               // it; empty: the row's last query stands at its last key
  std::vector<int64_t> length;  // keys of row b that exist; empty: all
  int64_t window = 0;           // > 0: only the keys j > start[b] + t - window are seen ...
  int64_t keep = 0;             // ... and the first `keep` (attention sinks)
  Tensor mask;                  // bool [B, 1 or T, S], true: may be seen, on top of the rest
  Tensor slopes;                // fp32 [H], ALiBi: adds -slope_h * (start[b] + t - j)
  Tensor bias;                  // fp32 [H, S] or [B, H, S], added to the scores
};

struct AttentionOptions {
  double scale = 0;    // 0: 1 / sqrt(K)
  double dropout = 0;  // of the weights, after the softmax
  // The randomness of dropout: the same site gives the same weights, in the backward pass too. Row b of the
  // call draws at site.row + b; site.position is not used.
  Site site;
  // Queries of row b that are real; results of the others are 0 (and lse -inf). Empty: all T.
  std::vector<int64_t> query_count;
};

// q: [B, T, H, K] -> [B, T, H, K], of q's type. Query head h reads key head h / (H / G). A query that sees
// nothing gives 0. `lse`, on request: log of the softmax's denominator, [B, H, T], fp32 (fp64 for fp64), -inf
// where nothing is seen; differentiable too.
Tensor attention(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options = {},
                 Tensor* lse = nullptr);

// The same in plain operations that hold all weights: what the kernels are tested against.
Tensor attention_reference(const Tensor& q, const std::vector<Keys>& sources,
                           const AttentionOptions& options = {}, Tensor* lse = nullptr);

}  // namespace mneme
