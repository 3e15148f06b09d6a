// The parts of the fused landmark attention that both directions use: the call, its lanes, packing, gates.

#include "ops/landmark_fused.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention_shape.h"
#include "ops/cpu.h"

namespace mneme::landmark {
namespace {

constexpr double kLog2EExact = 1.4426950408889634;

Rule rule_of(LandmarkSoftmax softmax) {
  switch (softmax) {
    case LandmarkSoftmax::plain:
      return Rule::plain;
    case LandmarkSoftmax::without_landmark:
      return Rule::without_landmark;
    default:
      return Rule::grouped;
  }
}

Tensor on_cpu(const Tensor& flags) { return flags.defined() ? flags.to(at::kCPU).contiguous() : flags; }

// The rows of `keys` (indices of the window, -1 none) in a tensor.
void addresses(const Strided& from, int64_t b, int64_t g, const int32_t* keys, int64_t count,
               const void** rows) {
  for (int64_t i = 0; i < count; ++i) rows[i] = keys[i] < 0 ? nullptr : from.at(b, keys[i], g);
}

}  // namespace

void pack_gates(const Call& call, int64_t b, int64_t g, const PackedHead& to) {
  const Layout& layout = call.layout[b];
  const int64_t count = call.gate_rows(b);
  if (count == 0) return;
  std::vector<const void*> rows(count, nullptr);
  const auto gates = static_cast<int64_t>(layout.gate.size());
  addresses(call.k, b, g, layout.gate.data(), gates, rows.data());
  if (call.miss()) rows[gates] = strided(call.held_miss.unsqueeze(1)).at(b, 0, g);
  call.matrix->pack_rows(to.gates, call.words, rows.data(), count, call.width, call.half);
  if (!to.gates_turned) return;
  call.lane->turn_rows(to.gates_turned, count / call.per_word, rows.data(), count, call.width, call.half);
}

KernelChoice choose_kernels(bool half) {
#if defined(__x86_64__)
  const CpuLevel level = cpu_level();
  if (level == CpuLevel::avx2) return {&kAttentionAvx2, &kAvx2};
  if (level == CpuLevel::amx && half) return {&kAttentionAmx, &kAvx512Pairs};
  if (level >= CpuLevel::avx512) {
    if (half && cpu_multiplies_bf16()) return {&kAttentionAvx512Bf16, &kAvx512Pairs};
    return {&kAttentionAvx512, &kAvx512};
  }
#endif
  return {&kAttentionBaseline, &kBaseline};
}

bool kernels_take(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options) {
  const bool number = q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16;
  const bool padded_blocks = options.parity_padded_blocks && keys.mask.defined();
  return number && q.device().is_cpu() && options.scale >= 0 && !padded_blocks && q.numel() > 0;
}

Call prepare(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options) {
  Call call;
  call.options = &options;
  call.rows = q.size(0), call.queries = q.size(1), call.heads = q.size(2), call.width = q.size(3);
  call.keys = keys.k.size(1), call.key_heads = keys.k.size(2);
  call.share = call.heads / call.key_heads;
  call.lanes = call.queries * call.share;
  call.half = q.scalar_type() == at::kBFloat16;
  const KernelChoice kernels = choose_kernels(call.half);
  call.matrix = kernels.matrix, call.lane = kernels.lane;
  call.per_word = call.matrix->pairs ? 2 : 1;
  call.words = rounded_up(rounded_up(call.width, call.per_word) / call.per_word, 16);
  call.columns = rounded_up(call.width, 16);
  call.chunk_words = kChunk / call.per_word;
  call.scale = options.scale > 0 ? options.scale : 1 / std::sqrt(static_cast<double>(call.width));
  call.scale_log2 = static_cast<float>(call.scale * kLog2EExact);
  call.held_q = with_rows(q), call.held_k = with_rows(keys.k), call.held_v = with_rows(keys.v);
  call.q = strided(call.held_q), call.k = strided(call.held_k), call.v = strided(call.held_v);
  if (options.miss_key.defined()) call.held_miss = options.miss_key.contiguous();
  call.gate_keep = on_cpu(options.gate_keep);
  call.controlled = on_cpu(options.controlled);
  const Tensor island = on_cpu(keys.is_landmark), mask = on_cpu(keys.mask);
  for (int64_t b = 0; b < call.rows; ++b) {
    call.layout.push_back(make_layout(island.data_ptr<bool>() + b * call.keys,
                                      mask.defined() ? mask.data_ptr<bool>() + b * call.keys : nullptr,
                                      call.keys, call.queries, rule_of(options.softmax)));
  }
  return call;
}

TileLanes tile_lanes(const Call& call, int64_t b, int64_t g, int64_t tile) {
  const Layout& layout = call.layout[b];
  TileLanes out;
  out.b = b, out.g = g;
  out.count = std::min(kLanes, call.lanes - tile * kLanes);
  out.own_min = out.begin_min = std::numeric_limits<int32_t>::max();
  for (int64_t l = 0; l < kLanes; ++l) {
    const int64_t at = tile * kLanes + std::min(l, out.count - 1), t = at / call.share;
    out.t[l] = t;
    out.head[l] = g * call.share + at % call.share;
    out.own[l] = layout.own[t], out.begin[l] = layout.begin[t], out.end[l] = layout.end[t];
    out.gates[l] = layout.gates[t];
    out.own_min = std::min(out.own_min, out.own[l]);
    out.own_max = std::max(out.own_max, out.own[l]);
    out.begin_min = std::min(out.begin_min, out.begin[l]);
    out.end_max = std::max(out.end_max, out.end[l]);
    out.gates_max = std::max(out.gates_max, out.gates[l]);
  }
  for (int32_t block = out.own_max - 1; block >= 0 && out.past_end == 0; --block) {
    if (layout.block[block].gate >= 0) out.past_end = layout.block[block].end;
  }
  return out;
}

namespace {

struct PackedSizes {
  int64_t rows = 0, turned = 0, gates = 0, gates_turned = 0;
};
PackedSizes packed_sizes(const Call& call, int64_t b) {
  const auto chunks = static_cast<int64_t>(call.layout[b].chunk.size());
  return {chunks * kChunk * call.words, chunks * call.columns * call.chunk_words,
          call.gate_rows(b) * call.words, call.columns * call.gate_rows(b) / call.per_word};
}

}  // namespace

size_t packed_bytes(const Call& call, int64_t b, bool backward) {
  const PackedSizes s = packed_sizes(call, b);
  size_t bytes =
      scratch_bytes<uint32_t>(s.rows) + scratch_bytes<uint32_t>(s.turned) + scratch_bytes<uint32_t>(s.gates);
  if (backward) bytes += scratch_bytes<uint32_t>(s.rows) + scratch_bytes<uint32_t>(s.gates_turned);
  return bytes;
}

PackedHead take_packed(const Call& call, int64_t b, bool backward, Scratch& scratch) {
  const PackedSizes s = packed_sizes(call, b);
  PackedHead out;
  out.k = scratch.take<uint32_t>(s.rows);
  out.gates = scratch.take<uint32_t>(s.gates);
  if (backward) {
    out.v = scratch.take<uint32_t>(s.rows);
    out.k_turned = scratch.take<uint32_t>(s.turned);
    out.gates_turned = scratch.take<uint32_t>(s.gates_turned);
  } else {
    out.v_turned = scratch.take<uint32_t>(s.turned);
  }
  return out;
}

void pack_chunk(const Call& call, int64_t b, int64_t g, int64_t chunk, const PackedHead& to) {
  const void* rows[kChunk];
  const int32_t* keys = call.layout[b].key.data() + chunk * kChunk;
  const int64_t row_words = chunk * kChunk * call.words,
                turned_words = chunk * call.columns * call.chunk_words;
  auto turn = [&](uint32_t* at) {
    call.lane->turn_rows(at + turned_words, call.chunk_words, rows, kChunk, call.width, call.half);
  };
  addresses(call.k, b, g, keys, kChunk, rows);
  call.matrix->pack_rows(to.k + row_words, call.words, rows, kChunk, call.width, call.half);
  if (to.k_turned) turn(to.k_turned);
  addresses(call.v, b, g, keys, kChunk, rows);
  if (to.v) call.matrix->pack_rows(to.v + row_words, call.words, rows, kChunk, call.width, call.half);
  if (to.v_turned) turn(to.v_turned);
}

void row_addresses(const Strided& from, const TileLanes& lanes, const void** rows) {
  for (int64_t l = 0; l < kLanes; ++l) {
    rows[l] = l < lanes.count ? from.at(lanes.b, lanes.t[l], lanes.head[l]) : nullptr;
  }
}

void pack_queries(const Call& call, const Strided& from, const TileLanes& lanes, uint32_t* panel) {
  const void* rows[kLanes];
  row_addresses(from, lanes, rows);
  call.matrix->pack_across(panel, call.words, rows, kLanes, call.width, call.half);
}

void fill_factor(const Call& call, const TileLanes& lanes, int64_t first, int64_t n, float* factor) {
  const int32_t* keys = call.layout[lanes.b].key.data() + first;
  int64_t from = call.keys, to = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (keys[i] < 0) continue;
    from = std::min<int64_t>(from, keys[i]);
    to = std::max<int64_t>(to, keys[i] + 1);
  }
  std::fill(factor, factor + n * kLanes, 1.0F);
  if (from >= to) return;
  from = from / 128 * 128;  // what dropout_factors asks for
  AttentionOptions draws;
  draws.dropout = call.options->dropout;
  draws.site = call.options->site;
  std::vector<float> line(static_cast<size_t>(to - from));
  for (int64_t l = 0; l < kLanes; ++l) {
    dropout_factors(line.data(), draws, {lanes.b, 0, lanes.head[l], lanes.t[l], from}, to - from);
    for (int64_t i = 0; i < n; ++i) {
      if (keys[i] >= 0) factor[i * kLanes + l] = line[static_cast<size_t>(keys[i] - from)];
    }
  }
}

}  // namespace mneme::landmark
