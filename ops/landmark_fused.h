// What the forward and backward drivers of the fused landmark attention share: the call, its lanes, packed
// keys. Internal to ops/landmark*.cc.
//
// A lane is one query in one head; the lanes of a key head are its queries in order, all heads of the group
// of a query side by side. A tile is 32 lanes. Everything is computed per tile, so nothing depends on the
// number of threads.
#pragma once

#include <vector>

#include "ops/attention_impl.h"
#include "ops/landmark_attention.h"
#include "ops/landmark_kernels.h"
#include "ops/landmark_layout.h"

namespace mneme::landmark {

constexpr float kLog2E = 1.44269504088896340736F, kLn2 = 0.69314718055994531F;

struct KernelChoice {
  const AttentionKernels* matrix;
  const Kernels* lane;
};
// Of the CPU level in force, for fp32 or bf16 (`half`) inputs.
KernelChoice choose_kernels(bool half);

struct Call {
  const AttentionKernels* matrix = nullptr;
  const Kernels* lane = nullptr;
  const LandmarkOptions* options = nullptr;
  int64_t rows = 0, queries = 0, keys = 0, heads = 0, key_heads = 0, width = 0;  // B, T, S, H, G, K
  int64_t share = 1, lanes = 0;           // heads of a group, lanes of a key head
  int64_t words = 0, columns = 0;         // of K
  int64_t per_word = 1, chunk_words = 0;  // keys in a word, words of a chunk of keys
  float scale_log2 = 0;
  double scale = 0;
  bool half = false;
  Tensor held_q, held_k, held_v, held_miss, gate_keep, controlled;
  Strided q, k, v;
  std::vector<Layout> layout;

  bool miss() const { return held_miss.defined(); }
  int64_t tiles() const { return (lanes + kLanes - 1) / kLanes; }
  // Gates of row b, the context-miss key after them, to whole products.
  int64_t gate_rows(int64_t b) const {
    return (static_cast<int64_t>(layout[b].gate.size()) + miss() + 31) / 32 * 32;
  }
};

// Whether the kernels compute this.
bool kernels_take(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options);
Call prepare(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options);

struct TileLanes {
  int64_t b = 0, g = 0, count = 0;
  int64_t t[kLanes], head[kLanes];
  // What each lane sees (landmark_layout.h); lanes past the last repeat it.
  int32_t own[kLanes], begin[kLanes], end[kLanes], gates[kLanes];
  int32_t own_min = 0, own_max = 0, begin_min = 0, end_max = 0, gates_max = 0;
  int32_t past_end = 0;  // of the last block that some lane sees through its gate
};
TileLanes tile_lanes(const Call& call, int64_t b, int64_t g, int64_t tile);

// The keys of one row and key head, as the products want them. Null where a direction has no use for them.
struct PackedHead {
  uint32_t* k = nullptr;             // rows of the packed keys
  uint32_t* v_turned = nullptr;      // chunk by chunk [columns, chunk_words]
  uint32_t* gates = nullptr;         // rows of the landmarks, then the context-miss key
  uint32_t* v = nullptr;             // backward: rows
  uint32_t* k_turned = nullptr;      // backward: chunk by chunk
  uint32_t* gates_turned = nullptr;  // backward: [columns, gate words]
};
size_t packed_bytes(const Call& call, int64_t b, bool backward);
PackedHead take_packed(const Call& call, int64_t b, bool backward, Scratch& scratch);
void pack_gates(const Call& call, int64_t b, int64_t g, const PackedHead& to);
void pack_chunk(const Call& call, int64_t b, int64_t g, int64_t chunk, const PackedHead& to);

// The queries of a tile as a panel whose columns are the lanes.
void pack_queries(const Call& call, const Strided& from, const TileLanes& lanes, uint32_t* panel);
void row_addresses(const Strided& from, const TileLanes& lanes, const void** rows);

// Scores of all gates against a tile, and what follows from them before and after the own block has been
// read.
struct Gates {
  float* score = nullptr;   // [gate rows, 32]
  float* won = nullptr;     // [gate rows, 32] weights over the outer sum: relative to its maximum, undivided
  float* part = nullptr;    // with a context-miss key: scores of one kind of gates
  float* factor = nullptr;  // of dropout [gate rows, 32], or null
  // With a context-miss key, per lane: its weight as `won`, the controlled gates' maximum and sum.
  float miss[kLanes], controlled_max[kLanes], controlled_sum[kLanes];
};
void score_gates(const Call& call, const PackedHead& head, const TileLanes& lanes, const uint32_t* queries,
                 Gates& gates);
// Into the running maximum and sum of the outer softmax.
void start_outer(const Call& call, const TileLanes& lanes, Gates& gates, float* m, float* z);
// Once m and z are final; applies neither factor nor cutoff-free division.
void finish_gates(const Call& call, const TileLanes& lanes, Gates& gates, const float* m, const float* z);
int64_t gate_floats(const Call& call, int64_t b);  // that take_gates takes
Gates take_gates(const Call& call, int64_t b, Scratch& scratch);

// Factors of the weights of places [first, first + n) (packed) for dropout, [n, 32].
void fill_factor(const Call& call, const TileLanes& lanes, int64_t first, int64_t n, float* factor);

Tensor forward(const Call& call, Tensor* lse);  // lse: [B, H, T], always wanted

struct Gradients {
  Tensor q, k, v, miss;
};
Gradients backward(const Call& call, const Tensor& out, const Tensor& lse, const Tensor& grad_out);

// Through both.
Tensor with_gradients(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options, Tensor* lse);

}  // namespace mneme::landmark
