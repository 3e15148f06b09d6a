// The parts of the backward pass of the fused landmark attention. With w the weights, p the inner and W the
// gates' softmax, G_j = do . v_j, D = do . o and D_g = sum over block g of p_j G_j:
//
//   ds_j = w_j (G_j - D)      own block         ds_l(g) = W_g (D_g - D)      gates
//   ds_j = w_j (G_j - D_g)    earlier blocks
//   dq_i += ds_ij k_j,  dk_j += ds_ij q_i,  dv_j += w_ij do_i
//
// An item is some chunks of keys of one row and key head against all queries. Tiles of lanes are taken
// several at a time (a band), so that the sums over lanes are long; the gradients of keys stay in the item,
// those of queries are added up over items afterwards, in order. Internal to ops/landmark_backward*.cc.
#pragma once

#include <vector>

#include "ops/landmark_fused.h"

namespace mneme::landmark {

constexpr int64_t kBandTiles = 8;
constexpr int64_t kBandLanes = kBandTiles * kLanes;

// The softmax of one block over a tile: maximum, sum, and sum of weights times G.
struct BlockSums {
  float m[kLanes], z[kLanes], g[kLanes];
};

struct BandTile {
  TileLanes lanes;
  Gates gates;
  uint32_t *q = nullptr, *grad = nullptr;  // panels
  float* dq = nullptr;                     // [columns, 32]
  float* block_grad = nullptr;             // [gate rows, 32] D_g
  float lse[kLanes], delta[kLanes];        // delta: D
  BlockSums open;                          // of the block being read that is longer than a chunk
  int32_t reach = 0;                       // end of what some lane sees
  bool sees(int64_t chunk) const { return chunk * kChunk < reach; }
};

// One tile against one chunk: its weights and score gradients.
class ChunkGradients {
 public:
  ChunkGradients(const Call& call, const Layout& layout, Scratch& scratch);
  static size_t bytes();
  // Rows of the chunk that matter to the tile, to whole products.
  int64_t rows(const BandTile& tile, int64_t chunk) const;
  // Fills the first `n` rows of out, 0 where there is nothing. `fresh`: the caller has not read the chunk
  // before this one, so that a block which began there must be gone through first.
  void run(const PackedHead& head, BandTile& tile, int64_t chunk, bool fresh, int64_t n, const Outputs& out);

 private:
  struct Reading;  // scores and their counterparts, made a little ahead of their use
  void blocks(Reading& reading, BandTile& tile, int64_t chunk, int64_t n, const Outputs& out);
  void part(Reading& reading, BandTile& tile, int64_t chunk, bool fresh, int64_t n, const Outputs& out);
  void earlier(BandTile& tile, const Block& block, int64_t first, int64_t count, const Outputs& out);
  void mixed(BandTile& tile, int32_t index, const BlockSums& sums, int64_t chunk, int64_t first,
             int64_t count, const Outputs& out);
  void clear(const Outputs& out, int64_t from, int64_t to) const;
  const float* factor_at(int64_t place) const;

  const Call& call_;
  const Layout& layout_;
  float *score_ = nullptr, *back_ = nullptr, *factor_ = nullptr;  // [kChunk, 32]; back: G
};

// The gradients of the scores of the first n gates (and of the context-miss key), in place of the scores; 0
// for gates that are not `wanted`.
void gate_gradients(const Call& call, BandTile& tile, const std::vector<char>& wanted, int64_t n);

struct Item {
  int64_t b = 0, g = 0;
  int64_t first = 0, last = 0;  // chunks
  int64_t part = 0, parts = 1;
};

// Where results go.
struct Targets {
  Strided out, grad;           // given
  const float* lse = nullptr;  // [B, H, T]
  Strided dq, dk, dv;
  float* dmiss = nullptr;      // [B, G, K]
  float* partial = nullptr;    // [parts][B, G, tiles, columns, 32] where there are several parts
  int64_t partial_stride = 0;  // of a part
};

size_t item_bytes(const Call& call, const Item& item);
void run_item(const Call& call, const Item& item, const Targets& to, Scratch& scratch);
// Lanes of dq [columns, 32] to their rows.
void write_query_gradients(const Call& call, const TileLanes& lanes, const float* dq, const Strided& to);

}  // namespace mneme::landmark
