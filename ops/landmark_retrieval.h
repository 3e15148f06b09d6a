// Landmark attention over blocks kept from long ago: which blocks a query reads, and what it reads from them.
//
// A stored block is a page of f keys and their landmark, rotated by their place in the block, 0..f, once.
// Retrieved blocks stand in a short prefix of slots in front of the local window ("stingy" positions), so
// what differs between queries is the rotation of the query alone: the caller hands in each query once for
// every slot, rotated back by the slot's position. Keys are neither gathered nor rotated: (query, block)
// pairs are grouped by block, each pair gives its gate's score and the inner softmax's mean value, and these
// are merged with the result of the local window, exactly.
//
// No gradients: retrieval is for inference. One row of a batch at a time.
#pragma once

#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

struct LandmarkPage {
  Tensor k, v;  // [G, f + 1, K], contiguous; the landmark is the last; may lie in a mapped file
};

// The blocks that some query reads, out of all that are stored.
struct LandmarkPages {
  LandmarkPages() = default;
  LandmarkPages(const std::vector<LandmarkPage>& all);  // NOLINT: all of them
  void add(int32_t which, LandmarkPage held);           // in ascending order

  int64_t blocks = 0;  // that are stored
  std::vector<int32_t> rank;
  std::vector<LandmarkPage> page;
  // Pages in a mapped file come into memory as they are read: `release` is called, if it is set, whenever
  // about `together` bytes may have, and at the end.
  std::function<void()> release;
  int64_t together = 0;
};

enum class LandmarkPick {
  per_token_and_head,
  max_over_heads,   // all heads of a token read the same blocks
  max_over_tokens,  // each head reads the same blocks for all tokens: looks ahead
};

struct LandmarkSearch {
  int64_t k = 4;  // blocks a query reads; fewer where fewer are stored
  LandmarkPick pick = LandmarkPick::per_token_and_head;
  double scale = 0;       // of the scores; 0 = 1 / sqrt(K)
  double tie_eps = 1e-5;  // scores closer than this are equal, in chains; the most recent block wins
  bool latest_shifted =
      true;  // the latest k blocks stand one slot later: an empty one keeps them apart from the others
};

// The slot from which the landmark of block `rank` of `blocks` is scored, and in which the n-th of the blocks
// read stands, if it is block `rank`. `read` = min(k, blocks). Slots are 0..read.
int64_t landmark_search_slot(int64_t rank, int64_t blocks, int64_t read, bool latest_shifted);
int64_t landmark_read_slot(int64_t n, int64_t rank, int64_t blocks, int64_t read, bool latest_shifted);

// queries [T, H, min(k, N) + 1, K]: for slot p, query t of head h rotated as if slot p began at position 0.
// landmarks [G, N, K], oldest block first, in one or more parts along N. Returns int32 [T, H, min(k, N)]:
// ranks, ascending. `log_weights`, on request: the logarithm of the softmax over the blocks, its maximum
// where the pick takes one; float [T, H, N].
Tensor landmark_search(const Tensor& queries, const std::vector<Tensor>& landmarks,
                       const LandmarkSearch& search, Tensor* log_weights = nullptr);

// local [T, H, K] and lse [H, T]: the result of
// landmark_attention over the local window. Returns [T, H, K]: the result over the selected blocks and the
// window; `merged`, on request, its lse [H, T].
Tensor landmark_recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                       const Tensor& local, const Tensor& lse, const LandmarkSearch& search,
                       Tensor* merged = nullptr);

// The same in plain operations, keys gathered; any floating type and device.
Tensor landmark_search_reference(const Tensor& queries, const std::vector<Tensor>& landmarks,
                                 const LandmarkSearch& search, Tensor* log_weights = nullptr);
Tensor landmark_recall_reference(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                                 const Tensor& local, const Tensor& lse, const LandmarkSearch& search,
                                 Tensor* merged = nullptr);

}  // namespace mneme
