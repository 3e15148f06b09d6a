#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/landmark_backward.h"

namespace mneme::landmark {
namespace {

constexpr int64_t kAhead =
    32;  // rows of products issued before the vectors need them, so that the two overlap
constexpr int32_t kAll = std::numeric_limits<int32_t>::max() / 2;

void start(BlockSums& sums) {
  std::fill(sums.m, sums.m + kLanes, kNothing);
  std::fill(sums.z, sums.z + kLanes, 0.0F);
  std::fill(sums.g, sums.g + kLanes, 0.0F);
}

void keep_block_gradient(BandTile& tile, int32_t gate, const BlockSums& sums) {
  float* to = tile.block_grad + gate * kLanes;
  for (int64_t l = 0; l < kLanes; ++l) to[l] = sums.g[l] / sums.z[l];
}

// What the tokens of a block get of what its gate won: by dropout more or nothing.
void shares(const BandTile& tile, int32_t gate, float* out) {
  const float* won = tile.gates.won + gate * kLanes;
  const float* factor = tile.gates.factor ? tile.gates.factor + gate * kLanes : nullptr;
  for (int64_t l = 0; l < kLanes; ++l) out[l] = factor ? won[l] * factor[l] : won[l];
}

}  // namespace

struct ChunkGradients::Reading {
  const ChunkGradients& owner;
  const PackedHead& head;
  const BandTile& tile;
  int64_t chunk = 0, n = 0, done = 0;

  void open(int64_t which, int64_t rows) {
    chunk = which, n = rows, done = 0;
    const Call& call = owner.call_;
    if (call.options->dropout > 0) fill_factor(call, tile.lanes, chunk * kChunk, n, owner.factor_);
  }
  void need(int64_t rows) {
    rows = std::min(n, rounded_up(rows, kAhead) + kAhead);
    if (rows <= done) return;
    const Call& call = owner.call_;
    const int64_t at = (chunk * kChunk + done) * call.words, count = rows - done;
    auto multiply = [&](float* to, const uint32_t* keys, const uint32_t* lanes) {
      call.matrix->multiply(to + done * kLanes, kLanes, keys + at, call.words, lanes, call.words, count,
                            kLanes, call.words);
    };
    multiply(owner.score_, head.k, tile.q);
    multiply(owner.back_, head.v, tile.grad);
    if (call.options->dropout > 0) {
      call.lane->multiply(owner.back_ + done * kLanes, owner.factor_ + done * kLanes, count);
    }
    done = rows;
  }
};

ChunkGradients::ChunkGradients(const Call& call, const Layout& layout, Scratch& scratch)
    : call_(call), layout_(layout) {
  score_ = scratch.take<float>(kChunk * kLanes);
  back_ = scratch.take<float>(kChunk * kLanes);
  factor_ = scratch.take<float>(kChunk * kLanes);
}

size_t ChunkGradients::bytes() { return 3 * scratch_bytes<float>(kChunk * kLanes); }

const float* ChunkGradients::factor_at(int64_t place) const {
  return call_.options->dropout > 0 ? factor_ + place * kLanes : nullptr;
}

int64_t ChunkGradients::rows(const BandTile& tile, int64_t chunk) const {
  return rounded_up(std::min<int64_t>(layout_.chunk[chunk].used, tile.reach - chunk * kChunk), 32);
}

void ChunkGradients::clear(const Outputs& out, int64_t from, int64_t to) const {
  if (from >= to) return;
  const auto width = static_cast<size_t>(kLanes / call_.per_word) * 4;
  for (int64_t r = from; r < to; ++r) {
    std::memset(out.p + r * out.stride, 0, width);
    std::memset(out.ds + r * out.stride, 0, width);
  }
  const int64_t first = from / call_.per_word, count = to / call_.per_word - first;
  for (uint32_t* half : {out.panel.data, out.panel.data + out.panel.words * 16}) {
    std::memset(half + first * 16, 0, static_cast<size_t>(count) * 64);
  }
}

void ChunkGradients::run(const PackedHead& head, BandTile& tile, int64_t chunk, bool fresh, int64_t n,
                         const Outputs& out) {
  Reading reading{*this, head, tile};
  const int64_t mine = rows(tile, chunk);
  if (layout_.chunk[chunk].part) {
    part(reading, tile, chunk, fresh, mine, out);
  } else {
    blocks(reading, tile, chunk, mine, out);
  }
  clear(out, mine, n);
}

void ChunkGradients::blocks(Reading& reading, BandTile& tile, int64_t chunk, int64_t n, const Outputs& out) {
  reading.open(chunk, n);
  int64_t done = 0;
  for (int32_t b = layout_.chunk[chunk].first; b < layout_.chunk[chunk].last && b <= tile.lanes.own_max;
       ++b) {
    const Block& block = layout_.block[b];
    const bool past = b < tile.lanes.own_max && block.gate >= 0, own = b >= tile.lanes.own_min;
    // Only a block of which the tile sees no more than the beginning ends past the tile's rows.
    const int64_t first = block.begin - chunk * kChunk,
                  count = std::min<int64_t>(block.end - block.begin, n - first);
    if (count <= 0 || (!past && !own)) continue;
    reading.need(first + count);
    clear(out, done, first);
    done = rounded_up(first + count, 2);
    if (!own) {
      earlier(tile, block, first, count, out);
      continue;
    }
    BlockSums sums;
    start(sums);
    if (past) {
      call_.lane->collect_both(score_ + first * kLanes, back_ + first * kLanes, count, call_.scale_log2,
                               sums.m, sums.z, sums.g);
      keep_block_gradient(tile, block.gate, sums);
    }
    mixed(tile, b, sums, chunk, first, count, out);
  }
  clear(out, done, n);
}

void ChunkGradients::earlier(BandTile& tile, const Block& block, int64_t first, int64_t count,
                             const Outputs& out) {
  BlockSums sums;
  float *s = score_ + first * kLanes, *dp = back_ + first * kLanes;
  call_.lane->whole(s, dp, count, call_.scale_log2, sums.m, sums.z, sums.g);
  keep_block_gradient(tile, block.gate, sums);
  float by[kLanes];
  shares(tile, block.gate, by);
  for (int64_t l = 0; l < kLanes; ++l) by[l] /= sums.z[l];
  call_.lane->apply(s, dp, first, count, by, tile.block_grad + block.gate * kLanes, factor_at(first), out);
}

// Some lanes are in the block, some past it, some before it. Places [first, first + count) of the chunk;
// `sums` of the whole block.
void ChunkGradients::mixed(BandTile& tile, int32_t index, const BlockSums& sums, int64_t chunk, int64_t first,
                           int64_t count, const Outputs& out) {
  const TileLanes& lanes = tile.lanes;
  const Block& block = layout_.block[index];
  const auto at = static_cast<int32_t>(chunk * kChunk + first);
  float m[kLanes], by[kLanes], less[kLanes], share[kLanes] = {};
  int32_t hi[kLanes];
  if (block.gate >= 0) shares(tile, block.gate, share);
  for (int64_t l = 0; l < kLanes; ++l) {
    hi[l] = 0, m[l] = 0, by[l] = 0, less[l] = 0;
    if (lanes.own[l] == index) {
      hi[l] = lanes.end[l] - at, m[l] = tile.lse[l], by[l] = 1, less[l] = tile.delta[l];
    } else if (lanes.own[l] > index && share[l] != 0) {
      hi[l] = kAll, m[l] = sums.m[l], by[l] = share[l] / sums.z[l];
      less[l] = tile.block_grad[block.gate * kLanes + l];
    }
  }
  call_.lane->apply_range(score_ + first * kLanes, back_ + first * kLanes, first, count, call_.scale_log2,
                          {nullptr, hi}, m, by, less, factor_at(first), out);
}

// A chunk of a block that is longer than a chunk. Whoever begins to read the block goes through it once for
// its sums.
void ChunkGradients::part(Reading& reading, BandTile& tile, int64_t chunk, bool fresh, int64_t n,
                          const Outputs& out) {
  const int32_t index = layout_.chunk[chunk].first;
  const Block& block = layout_.block[index];
  const bool past = index < tile.lanes.own_max && block.gate >= 0;
  if (past && (fresh || block.begin == chunk * kChunk)) {
    start(tile.open);
    for (int64_t at = block.begin; at < block.end; at += kChunk) {
      const int64_t here = std::min<int64_t>(kChunk, block.end - at);
      reading.open(at / kChunk, rounded_up(here, 32));
      reading.need(here);
      call_.lane->collect_both(score_, back_, here, call_.scale_log2, tile.open.m, tile.open.z, tile.open.g);
    }
    keep_block_gradient(tile, block.gate, tile.open);
  }
  reading.open(chunk, n);
  const int64_t here = std::min<int64_t>(n, block.end - chunk * kChunk);
  reading.need(here);
  mixed(tile, index, tile.open, chunk, 0, here, out);
  clear(out, rounded_up(here, 2), n);
}

}  // namespace mneme::landmark
