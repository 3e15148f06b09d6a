// What the forward and backward drivers of attention's CPU kernels share: the sources with their addresses,
// the sights of a tile, scratch memory. Internal to ops/attention*.cc.
#pragma once

#include <memory>
#include <vector>

#include "base/random.h"
#include "ops/attention.h"
#include "ops/attention_kernels.h"
#include "ops/attention_shape.h"

namespace mneme {

// Grows, never shrinks, 64-byte aligned: what a thread reuses from call to call.
class Scratch {
 public:
  void reserve(size_t bytes);
  // `count` of T after what was taken since reset(); what was reserved must suffice.
  template <class T>
  T* take(int64_t count) {
    return reinterpret_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  void reset() { used_ = 0; }

 private:
  char* take_bytes(size_t bytes);
  struct Free {
    void operator()(char* p) const;
  };
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0, used_ = 0;
};

// Bytes that take<T>(count) needs.
template <class T>
size_t scratch_bytes(int64_t count) {
  return (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
}

// One scratch for each thread of a parallel region that this thread starts, each with `bytes` reserved.
std::vector<Scratch>& thread_scratch(int threads, size_t bytes);

// A [B, T, H, K] or [B, S, G, K] tensor of fp32 or bf16 whose last dimension is contiguous.
struct Strided {
  const char* data = nullptr;
  int64_t row = 0, step = 0, head = 0;  // bytes between rows, positions, heads
  const char* at(int64_t b, int64_t t, int64_t h) const { return data + b * row + t * step + h * head; }
};

struct SourceView {
  const Keys* keys = nullptr;
  const SourceShape* shape = nullptr;
  Strided q, k, v;
  bool half = false;  // keys and values are bf16
  Tensor held_q, held_k, held_v, mask, slopes, bias;
  struct Page {
    const char *k, *v;  // of key 0 of the row, were the page to begin there
    int64_t k_head, v_head, begin, end;
  };
  std::vector<std::vector<Page>> pages;
};

struct AttentionCall {
  const AttentionKernels* kernels = nullptr;
  CallShape shape;
  bool half = false;               // queries are bf16
  int64_t group = 1;               // H / G
  int64_t words = 0, columns = 0;  // of K
  int64_t key_words = 0;           // of a block of keys, summed over
  float scale_log2 = 0;
  std::vector<SourceView> sources;
  const AttentionOptions* options = nullptr;

  int64_t element() const { return half ? 2 : 4; }
};

// Whether the kernels compute this (gradients aside).
bool attention_kernels_take(const Tensor& q, const std::vector<Keys>& sources,
                            const AttentionOptions& options);
AttentionCall prepare_call(const Tensor& q, const std::vector<Keys>& sources,
                           const AttentionOptions& options);

Strided strided(const Tensor& t);
// The tensor, or a copy whose last dimension is contiguous.
Tensor with_rows(const Tensor& t);

// Addresses of keys [first, first + count) of row b, key head g.
void key_addresses(const AttentionCall& call, const SourceView& source, int64_t b, int64_t g, int64_t first,
                   int64_t count, const void** k, const void** v);

// Some queries of one row and key head, in all heads of its group: query i is head i / count, position
// first + i % count.
struct QuerySet {
  int64_t b = 0, g = 0, first = 0, count = 0;
};

// Up to 32 neighbours of a QuerySet.
struct QueryTile {
  int64_t begin = 0, size = 0;      // within the set
  int64_t lowest = 0, highest = 0;  // positions relative to set.first
  int32_t position[kTileQueries];   // likewise
  int64_t head[kTileQueries];       // in the group
};
// All tiles of a set: ceil(group * count / 32) of them.
void query_tiles(const QuerySet& set, int64_t group, QueryTile* tiles);

// Keys [begin, end) of a source that some query at positions [low, high] (of the row) can see without regard
// to the mask; `keep` keys at the front besides.
struct KeyRange {
  int64_t begin = 0, end = 0, keep = 0;
  bool sees(int64_t first, int64_t last) const { return first < end && (last > begin || first < keep); }
};
KeyRange visible_keys(const SourceView& source, int64_t b, int64_t low, int64_t high);

// Fills `sights` for a tile and the block of keys [first, first + count). `added` and `factor` are buffers of
// [32, kBlockKeys] or null where the call needs none; `transposed`: they become [kBlockKeys, 32].
void fill_sights(Sights& sights, const AttentionCall& call, size_t source, const QuerySet& set,
                 const QueryTile& tile, int64_t first, int64_t count, float* added, float* factor,
                 bool transposed);
bool needs_added(const AttentionCall& call);
bool needs_factor(const AttentionCall& call);

Tensor attention_forward(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options,
                         Tensor* lse);

struct AttentionGradients {
  Tensor q;                      // undefined where not wanted
  std::vector<Tensor> qs, k, v;  // per source
};
struct WantedGradients {
  bool q = false;
  std::vector<bool> qs, k, v;
};
// From the results of attention_forward and their gradients; grad_lse may be undefined.
AttentionGradients attention_backward(const Tensor& q, const std::vector<Keys>& sources,
                                      const AttentionOptions& options, const Tensor& out, const Tensor& lse,
                                      const Tensor& grad_out, const Tensor& grad_lse,
                                      const WantedGradients& wanted);

// Through attention_forward and attention_backward.
Tensor attention_with_gradients(const Tensor& q, const std::vector<Keys>& sources,
                                const AttentionOptions& options, Tensor* lse);

}  // namespace mneme
