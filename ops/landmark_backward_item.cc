#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/landmark_backward.h"

namespace mneme::landmark {
namespace {

int64_t most_rows(const Call& call, int64_t b) { return std::max(kChunk, call.gate_rows(b)); }

class ItemRun {
 public:
  ItemRun(const Call& call, const Item& item, const Targets& to, Scratch& scratch)
      : call_(call),
        layout_(call.layout[item.b]),
        item_(item),
        to_(to),
        band_words_(kBandLanes / call.per_word),
        tile_words_(kLanes / call.per_word),
        head_(take_packed(call, item.b, true, scratch)),
        chunk_(call, layout_, scratch) {
    const int64_t b = item.b, columns = call.columns, rows = most_rows(call, b);
    const int64_t keys = (item.last - item.first) * kChunk;
    dk_ = scratch.take<float>(keys * columns);
    dv_ = scratch.take<float>(keys * columns);
    dgates_ = scratch.take<float>(call.gate_rows(b) * columns);
    for (BandTile& tile : band_) {
      tile.q = scratch.take<uint32_t>(call.words * kLanes);
      tile.grad = scratch.take<uint32_t>(call.words * kLanes);
      tile.dq = scratch.take<float>(columns * kLanes);
      tile.block_grad = scratch.take<float>(call.gate_rows(b) * kLanes);
      tile.gates = take_gates(call, b, scratch);
    }
    q_down_ = scratch.take<uint32_t>(band_words_ * columns);
    grad_down_ = scratch.take<uint32_t>(band_words_ * columns);
    p_ = scratch.take<uint32_t>(rows * band_words_);
    ds_ = scratch.take<uint32_t>(rows * band_words_);
    panel_ = {scratch.take<uint32_t>(rows / call.per_word * kLanes), rows / call.per_word};
    for (const Block& block : layout_.block) {
      if (block.gate >= 0) mine_.push_back(is_mine(block));
    }
  }

  void run() {
    pack_gates(call_, item_.b, item_.g, head_);
    // Of a block that is longer than a chunk, all of it.
    const Block& low = layout_.block[layout_.chunk[item_.first].first];
    const Block& high = layout_.block[layout_.chunk[item_.last - 1].last - 1];
    const int64_t begin = std::min(item_.first, low.begin / kChunk);
    const int64_t end = std::max(item_.last, (high.end + kChunk - 1) / kChunk);
    for (int64_t c = begin; c < end; ++c) pack_chunk(call_, item_.b, item_.g, c, head_);
    const int64_t count = (item_.last - item_.first) * kChunk * call_.columns;
    std::fill(dk_, dk_ + count, 0.0F);
    std::fill(dv_, dv_ + count, 0.0F);
    std::fill(dgates_, dgates_ + call_.gate_rows(item_.b) * call_.columns, 0.0F);
    for (int64_t tile = 0; tile < call_.tiles(); tile += kBandTiles) run_band(tile);
    write_keys();
  }

 private:
  int64_t words(int64_t n) const { return n / call_.per_word; }

  // A gate belongs to the item that reads the last key of its block.
  bool is_mine(const Block& block) const {
    const int64_t chunk = std::max<int64_t>(block.end - 1, block.begin) / kChunk;
    return chunk >= item_.first && (chunk < item_.last || item_.part == item_.parts - 1);
  }

  void run_band(int64_t first_tile) {
    tiles_ = std::min(kBandTiles, call_.tiles() - first_tile);
    const void* rows[2][kBandLanes] = {};
    for (int64_t i = 0; i < tiles_; ++i) {
      band_[i].lanes = tile_lanes(call_, item_.b, item_.g, first_tile + i);
      start_tile(band_[i], rows[0] + i * kLanes, rows[1] + i * kLanes);
    }
    auto down = [&](uint32_t* to, const void* const* from) {
      call_.matrix->pack_down(to, band_words_, from, tiles_ * kLanes, call_.width, call_.half);
    };
    down(q_down_, rows[0]);
    down(grad_down_, rows[1]);
    for (int64_t c = item_.first; c < item_.last && band_[tiles_ - 1].sees(c); ++c) run_chunk(c);
    run_gates();
    for (int64_t i = 0; i < tiles_; ++i) write_queries(band_[i], first_tile + i);
  }

  void start_tile(BandTile& tile, const void** q_rows, const void** grad_rows) {
    const TileLanes& lanes = tile.lanes;
    tile.reach = std::max(lanes.end_max, lanes.past_end);
    pack_queries(call_, call_.q, lanes, tile.q);
    pack_queries(call_, to_.grad, lanes, tile.grad);
    row_addresses(call_.q, lanes, q_rows);
    row_addresses(to_.grad, lanes, grad_rows);
    const void* out_rows[kLanes];
    row_addresses(to_.out, lanes, out_rows);
    call_.lane->dots(grad_rows, out_rows, call_.width, call_.half, tile.delta);
    for (int64_t l = 0; l < kLanes; ++l) {
      const float lse = to_.lse[(lanes.b * call_.heads + lanes.head[l]) * call_.queries + lanes.t[l]];
      // A lane that sees nothing, or is none, gets weights of 0 everywhere.
      const bool none = l >= lanes.count || std::isinf(lse);
      tile.lse[l] = none ? std::numeric_limits<float>::max() : lse * kLog2E;
    }
    std::fill(tile.dq, tile.dq + call_.columns * kLanes, 0.0F);
    score_gates(call_, head_, lanes, tile.q, tile.gates);
    float one[kLanes];
    std::fill(one, one + kLanes, 1.0F);
    finish_gates(call_, lanes, tile.gates, tile.lse, one);
    std::fill(tile.block_grad, tile.block_grad + call_.gate_rows(lanes.b) * kLanes, 0.0F);
  }

  Outputs outputs(int64_t tile) const {
    return {p_ + tile * tile_words_, ds_ + tile * tile_words_, band_words_, panel_};
  }

  void run_chunk(int64_t c) {
    int64_t first = 0, n = 0;
    while (!band_[first].sees(c)) ++first;
    for (int64_t i = first; i < tiles_; ++i) n = std::max(n, chunk_.rows(band_[i], c));
    for (int64_t i = first; i < tiles_; ++i) {
      BandTile& tile = band_[i];
      chunk_.run(head_, tile, c, c == item_.first, n, outputs(i));
      call_.matrix->product(tile.dq, kLanes, head_.k_turned + c * call_.columns * call_.chunk_words,
                            call_.chunk_words, panel_.data, panel_.words, call_.columns, kLanes,
                            words(chunk_.rows(tile, c)));
    }
    const int64_t skip = first * tile_words_, length = (tiles_ - first) * tile_words_;
    auto add = [&](float* to, const uint32_t* rows, const uint32_t* down) {
      call_.matrix->product(to + (c - item_.first) * kChunk * call_.columns, call_.columns, rows + skip,
                            band_words_, down + skip * 16, band_words_, n, call_.columns, length);
    };
    add(dv_, p_, grad_down_);
    add(dk_, ds_, q_down_);
  }

  void run_gates() {
    int64_t gates = call_.miss() ? static_cast<int64_t>(layout_.gate.size()) + 1 : 0;
    for (int64_t i = 0; i < tiles_; ++i) gates = std::max<int64_t>(gates, band_[i].lanes.gates_max);
    if (gates == 0) return;
    const int64_t n = rounded_up(gates, 32);
    for (int64_t i = 0; i < tiles_; ++i) {
      BandTile& tile = band_[i];
      gate_gradients(call_, tile, mine_, n);
      call_.lane->convert(tile.gates.score, n, outputs(i));
      call_.matrix->product(tile.dq, kLanes, head_.gates_turned, words(call_.gate_rows(item_.b)), panel_.data,
                            panel_.words, call_.columns, kLanes, words(n));
    }
    call_.matrix->product(dgates_, call_.columns, ds_, band_words_, q_down_, band_words_, n, call_.columns,
                          tiles_ * tile_words_);
  }

  void write_queries(const BandTile& tile, int64_t index) const {
    if (item_.parts == 1) return write_query_gradients(call_, tile.lanes, tile.dq, to_.dq);
    const int64_t size = call_.columns * kLanes, head = item_.b * call_.key_heads + item_.g;
    float* to = to_.partial + item_.part * to_.partial_stride + (head * call_.tiles() + index) * size;
    std::memcpy(to, tile.dq, static_cast<size_t>(size) * sizeof(float));
  }

  void write_row(const Strided& to, int64_t key, const float* from, double scale) const {
    call_.matrix->write_row(const_cast<char*>(to.at(item_.b, key, item_.g)), from, static_cast<float>(scale),
                            call_.width, call_.half);
  }

  void write_keys() const {
    const int64_t base = item_.first * kChunk;
    for (int64_t i = base; i < item_.last * kChunk; ++i) {
      if (layout_.key[i] < 0) continue;
      write_row(to_.dk, layout_.key[i], dk_ + (i - base) * call_.columns, call_.scale);
      write_row(to_.dv, layout_.key[i], dv_ + (i - base) * call_.columns, 1);
    }
    const auto gates = static_cast<int64_t>(layout_.gate.size());
    for (int64_t n = 0; n < gates; ++n) {
      if (mine_[n]) write_row(to_.dk, layout_.gate[n], dgates_ + n * call_.columns, call_.scale);
    }
    if (!call_.miss()) return;
    float* to = to_.dmiss + (item_.b * call_.key_heads + item_.g) * call_.width;
    for (int64_t d = 0; d < call_.width; ++d) {
      to[d] = dgates_[gates * call_.columns + d] * static_cast<float>(call_.scale);
    }
  }

  const Call& call_;
  const Layout& layout_;
  const Item item_;
  const Targets& to_;
  const int64_t band_words_, tile_words_;
  PackedHead head_;
  ChunkGradients chunk_;
  float *dk_ = nullptr, *dv_ = nullptr, *dgates_ = nullptr;
  BandTile band_[kBandTiles];
  int64_t tiles_ = 0;
  uint32_t *q_down_ = nullptr, *grad_down_ = nullptr;  // panels that sum over the lanes of the band
  uint32_t *p_ = nullptr, *ds_ = nullptr;              // [rows, band words]
  Panel panel_;                                        // of ds of the tile at hand
  std::vector<char> mine_;                             // per gate
};

}  // namespace

size_t item_bytes(const Call& call, const Item& item) {
  const int64_t b = item.b, columns = call.columns, gates = call.gate_rows(b), rows = most_rows(call, b);
  const int64_t keys = (item.last - item.first) * kChunk, band = kBandLanes / call.per_word;
  const size_t tile = 2 * scratch_bytes<uint32_t>(call.words * kLanes) +
                      scratch_bytes<float>(columns * kLanes) + scratch_bytes<float>(gates * kLanes) +
                      scratch_bytes<float>(gate_floats(call, b));
  return packed_bytes(call, b, true) + ChunkGradients::bytes() + 2 * scratch_bytes<float>(keys * columns) +
         scratch_bytes<float>(gates * columns) + kBandTiles * tile +
         2 * scratch_bytes<uint32_t>(band * columns) + 2 * scratch_bytes<uint32_t>(rows * band) +
         scratch_bytes<uint32_t>(rows / call.per_word * kLanes);
}

void run_item(const Call& call, const Item& item, const Targets& to, Scratch& scratch) {
  scratch.reset();
  ItemRun(call, item, to, scratch).run();
}

void write_query_gradients(const Call& call, const TileLanes& lanes, const float* dq, const Strided& to) {
  void* rows[kLanes];
  float by[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    rows[l] = l < lanes.count ? const_cast<char*>(to.at(lanes.b, lanes.t[l], lanes.head[l])) : nullptr;
    by[l] = static_cast<float>(call.scale);
  }
  call.lane->store(dq, call.width, by, rows, call.half);
}

}  // namespace mneme::landmark
