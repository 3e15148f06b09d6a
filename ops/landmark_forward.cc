// The forward pass of the fused landmark attention. For a tile: the gates and the queries' own blocks first,
// by the running softmax, which leaves the outer softmax complete; then every earlier block, whose weights
// are final at once: its inner softmax times what its gate has won. Nothing is ever rescaled for an earlier
// block.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/landmark_few.h"

namespace mneme::landmark {
namespace {

constexpr int64_t kAhead = 32;  // rows of scores made before the vectors need them, so that the two overlap
constexpr int64_t kTilesAtOnce = 128;  // heads are packed together until they have so many

class Tile {
 public:
  Tile(const Call& call, const PackedHead& head, const TileLanes& lanes, Scratch& scratch)
      : call_(call), layout_(call.layout[lanes.b]), head_(head), lanes_(lanes) {
    scratch.reset();
    queries_ = scratch.take<uint32_t>(call.words * kLanes);
    score_ = scratch.take<float>(kChunk * kLanes);
    panel_ = {scratch.take<uint32_t>(call.chunk_words * kLanes), call.chunk_words};
    sum_ = scratch.take<float>(call.columns * kLanes);
    inner_ = scratch.take<float>(call.columns * kLanes);
    factor_ = scratch.take<float>(kChunk * kLanes);
    gates_ = take_gates(call, lanes.b, scratch);
  }

  static size_t bytes(const Call& call, int64_t b) {
    return scratch_bytes<uint32_t>(call.words * kLanes) + 2 * scratch_bytes<float>(kChunk * kLanes) +
           scratch_bytes<uint32_t>(call.chunk_words * kLanes) +
           2 * scratch_bytes<float>(call.columns * kLanes) + scratch_bytes<float>(gate_floats(call, b));
  }

  void run(const Strided& out, float* lse) {
    pack_queries(call_, call_.q, lanes_, queries_);
    score_gates(call_, head_, lanes_, queries_, gates_);
    start_outer(call_, lanes_, gates_, m_, z_);
    std::fill(sum_, sum_ + call_.columns * kLanes, 0.0F);
    own_blocks();
    if (lanes_.gates_max > 0) {
      finish_gates(call_, lanes_, gates_, m_, z_);
      if (gates_.factor) call_.lane->multiply(gates_.won, gates_.factor, lanes_.gates_max);
      earlier_blocks();
    }
    write(out, lse);
  }

 private:
  int64_t words(int64_t keys) const { return keys / call_.per_word; }

  // Scores of places [first, first + n) of a chunk, to their place in the tile.
  void scores(int64_t chunk, int64_t first, int64_t n) {
    call_.matrix->multiply(score_ + first * kLanes, kLanes, head_.k + (chunk * kChunk + first) * call_.words,
                           call_.words, queries_, call_.words, n, kLanes, call_.words);
  }

  // to += the values of places [first, first + n) of a chunk by the panel's first n.
  void gather(float* to, int64_t chunk, int64_t first, int64_t n) {
    call_.matrix->product(to, kLanes,
                          head_.v_turned + chunk * call_.columns * call_.chunk_words + words(first),
                          call_.chunk_words, panel_.data, panel_.words, call_.columns, kLanes, words(n));
  }

  const float* factor(int64_t first, int64_t n) {
    if (call_.options->dropout == 0) return nullptr;
    fill_factor(call_, lanes_, first, n, factor_);
    return factor_;
  }

  // Moves a running softmax on by places [first, last) of a chunk, of which a lane sees [lo, hi).
  void advance(int64_t chunk, int64_t first, int64_t last, const int32_t* lo, const int32_t* hi, float* m,
               float* z, float* sum, bool fresh) {
    scores(chunk, first, last - first);
    int32_t from[kLanes], to[kLanes];
    bool all = true;
    const auto base = static_cast<int32_t>(chunk * kChunk + first);
    for (int64_t l = 0; l < kLanes; ++l) {
      from[l] = lo[l] - base, to[l] = hi[l] - base;
      all = all && from[l] <= 0 && to[l] >= last - first;
    }
    float rescale[kLanes];
    call_.lane->advance(score_ + first * kLanes, last - first, call_.scale_log2,
                        all ? Range{} : Range{from, to}, factor(base, last - first), m, z, rescale, panel_);
    if (!fresh) call_.lane->scale(sum, call_.columns, rescale);
    gather(sum, chunk, first, last - first);
  }

  void own_blocks() {
    bool fresh = true;
    for (int64_t at = lanes_.begin_min / 32 * 32; at < lanes_.end_max; fresh = false) {
      const int64_t chunk = at / kChunk, first = at % kChunk;
      const int64_t last = std::min(kChunk, rounded_up(lanes_.end_max, 32) - chunk * kChunk);
      advance(chunk, first, last, lanes_.begin, lanes_.end, m_, z_, sum_, fresh);
      at = (chunk + 1) * kChunk;
    }
  }

  void earlier_blocks() {
    const auto chunks = (static_cast<int64_t>(lanes_.past_end) + kChunk - 1) / kChunk;
    for (int64_t c = 0; c < chunks; ++c) {
      const Layout::Chunk& chunk = layout_.chunk[c];
      if (!chunk.part) {
        earlier_chunk(c, chunk);
      } else if (layout_.block[chunk.first].begin == c * kChunk && layout_.block[chunk.first].gate >= 0 &&
                 chunk.first < lanes_.own_max) {
        long_block(layout_.block[chunk.first]);
      }
    }
  }

  void clear(int64_t from, int64_t to) {
    if (from >= to) return;
    for (uint32_t* half : {panel_.data, panel_.data + panel_.words * 16}) {
      std::memset(half + words(from) * 16, 0, static_cast<size_t>(words(to) - words(from)) * 64);
    }
  }

  void earlier_chunk(int64_t c, const Layout::Chunk& chunk) {
    const int64_t base = c * kChunk, used = std::min<int64_t>(chunk.used, lanes_.past_end - base);
    const int64_t n = rounded_up(used, 32);
    int64_t scored = 0, done = 0;
    for (int32_t b = chunk.first; b < chunk.last && b < lanes_.own_max; ++b) {
      const Block& block = layout_.block[b];
      if (block.gate < 0 || block.begin == block.end) continue;
      const int64_t first = block.begin - base, count = block.end - block.begin;
      const int64_t ahead = std::min(n, rounded_up(first + count, kAhead) + kAhead);
      if (ahead > scored) scores(c, scored, ahead - scored);
      scored = std::max(scored, ahead);
      clear(done, first);
      call_.lane->spread(score_ + first * kLanes, first, count, call_.scale_log2,
                         gates_.won + block.gate * kLanes, factor(block.begin, count), panel_);
      done = rounded_up(first + count, 2);
    }
    clear(done, n);
    gather(sum_, c, 0, n);
  }

  void long_block(const Block& block) {
    float m[kLanes], z[kLanes];
    int32_t lo[kLanes], hi[kLanes];
    std::fill(m, m + kLanes, kNothing);
    std::fill(z, z + kLanes, 0.0F);
    std::fill(lo, lo + kLanes, block.begin);
    std::fill(hi, hi + kLanes, block.end);
    std::fill(inner_, inner_ + call_.columns * kLanes, 0.0F);
    for (int64_t at = block.begin; at < block.end; at += kChunk) {
      const int64_t last = std::min<int64_t>(kChunk, rounded_up(block.end - at, 32));
      advance(at / kChunk, 0, last, lo, hi, m, z, inner_, at == block.begin);
    }
    float by[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) by[l] = gates_.won[block.gate * kLanes + l] / z[l];
    call_.lane->fold(sum_, inner_, call_.columns, by);
  }

  void write(const Strided& out, float* lse) {
    float by[kLanes];
    void* rows[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) {
      by[l] = z_[l] > 0 ? 1 / z_[l] : 0;
      rows[l] = nullptr;
      if (l >= lanes_.count) continue;
      rows[l] = const_cast<char*>(out.at(lanes_.b, lanes_.t[l], lanes_.head[l]));
      lse[(lanes_.b * call_.heads + lanes_.head[l]) * call_.queries + lanes_.t[l]] =
          z_[l] > 0 ? (m_[l] + std::log2(z_[l])) * kLn2 : -std::numeric_limits<float>::infinity();
    }
    call_.lane->store(sum_, call_.width, by, rows, call_.half);
  }

  const Call& call_;
  const Layout& layout_;
  const PackedHead& head_;
  const TileLanes& lanes_;
  uint32_t* queries_ = nullptr;
  float *score_ = nullptr, *sum_ = nullptr, *inner_ = nullptr, *factor_ = nullptr;
  Panel panel_;
  Gates gates_;
  float m_[kLanes], z_[kLanes];
};

}  // namespace

Tensor forward(const Call& call, Tensor* lse) {
  const Tensor out = at::empty({call.rows, call.queries, call.heads, call.width}, call.held_q.options());
  *lse = at::empty({call.rows, call.heads, call.queries}, at::kFloat);
  const Strided to = strided(out);
  float* lse_at = lse->data_ptr<float>();

  if (takes_few(call)) {
    forward_few(call, to, lse_at);
    return out;
  }
  const int64_t tiles = call.tiles(), all = call.rows * call.key_heads;
  const int64_t together = std::min(all, std::max<int64_t>(1, kTilesAtOnce / tiles));
  size_t packed = 0, scratch_of_tile = 0;
  int64_t most_chunks = 0;
  for (int64_t b = 0; b < call.rows; ++b) {
    packed = std::max(packed, packed_bytes(call, b, false));
    scratch_of_tile = std::max(scratch_of_tile, Tile::bytes(call, b));
    most_chunks = std::max(most_chunks, static_cast<int64_t>(call.layout[b].chunk.size()));
  }
  std::vector<Scratch>& scratch = thread_scratch(at::get_num_threads(), scratch_of_tile);
  static thread_local Scratch shared;
  shared.reserve(packed * static_cast<size_t>(together));
  for (int64_t first = 0; first < all; first += together) {
    const int64_t heads = std::min(together, all - first);
    shared.reset();
    std::vector<PackedHead> packs;
    for (int64_t i = 0; i < heads; ++i) {
      packs.push_back(take_packed(call, (first + i) / call.key_heads, false, shared));
    }
    at::parallel_for(0, heads * most_chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = first + i / most_chunks, chunk = i % most_chunks, b = head / call.key_heads;
        const PackedHead& to_head = packs[i / most_chunks];
        if (chunk == 0) pack_gates(call, b, head % call.key_heads, to_head);
        if (chunk < static_cast<int64_t>(call.layout[b].chunk.size())) {
          pack_chunk(call, b, head % call.key_heads, chunk, to_head);
        }
      }
    });
#pragma omp parallel num_threads(at::get_num_threads())
    {
      call.matrix->begin();
      Scratch& mine = scratch[static_cast<size_t>(omp_get_thread_num())];
#pragma omp for schedule(dynamic)
      for (int64_t i = 0; i < heads * tiles; ++i) {
        const int64_t head = first + i % heads, tile = tiles - 1 - i / heads;  // the longest first
        const TileLanes lanes = tile_lanes(call, head / call.key_heads, head % call.key_heads, tile);
        Tile(call, packs[i % heads], lanes, mine).run(to, lse_at);
      }
      call.matrix->end();
    }
  }
  return out;
}

}  // namespace mneme::landmark
