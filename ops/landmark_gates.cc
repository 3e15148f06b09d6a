// The gates of the fused landmark attention: scores of the landmarks, what they win, and the gradients of
// both.

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/landmark_backward.h"

namespace mneme::landmark {
namespace {

constexpr float kHiddenScore = -std::numeric_limits<float>::infinity();

bool controlled(const Call& call, int64_t b, int64_t gate) {
  if (!call.controlled.defined()) return false;
  return call.controlled.data_ptr<bool>()[b * call.keys + call.layout[b].gate[gate]];
}

// Scores of the gates of one kind; the others' become unseen.
void part_of(const Call& call, const TileLanes& lanes, const Gates& gates, bool which) {
  for (int64_t n = 0; n < lanes.gates_max; ++n) {
    float* to = gates.part + n * kLanes;
    if (controlled(call, lanes.b, n) == which) {
      std::memcpy(to, gates.score + n * kLanes, kLanes * sizeof(float));
    } else {
      std::fill(to, to + kLanes, kHiddenScore);
    }
  }
}

void gate_factor(const Call& call, const TileLanes& lanes, float* factor) {
  const std::vector<int32_t>& column = call.layout[lanes.b].column;
  const float kept = static_cast<float>(1 / (1 - call.options->group_dropout));
  const int64_t columns = call.gate_keep.size(3);
  for (int64_t l = 0; l < kLanes; ++l) {
    const bool* keep = call.gate_keep.data_ptr<bool>() +
                       ((lanes.b * call.heads + lanes.head[l]) * call.queries + lanes.t[l]) * columns;
    for (int64_t n = 0; n < lanes.gates_max; ++n) factor[n * kLanes + l] = keep[column[n]] ? kept : 0;
  }
}

}  // namespace

int64_t gate_floats(const Call& call, int64_t b) {
  const int64_t each = call.gate_rows(b) * kLanes;
  return each * (2 + call.miss() + call.gate_keep.defined());
}

Gates take_gates(const Call& call, int64_t b, Scratch& scratch) {
  const int64_t each = call.gate_rows(b) * kLanes;
  float* at = scratch.take<float>(gate_floats(call, b));
  Gates out;
  out.score = at;
  out.won = at + each;
  at += 2 * each;
  if (call.miss()) {
    out.part = at;
    at += each;
  }
  if (call.gate_keep.defined()) out.factor = at;
  return out;
}

void score_gates(const Call& call, const PackedHead& head, const TileLanes& lanes, const uint32_t* queries,
                 Gates& gates) {
  const int64_t count = call.miss() ? call.gate_rows(lanes.b) : rounded_up(lanes.gates_max, 16);
  if (count > 0) {
    call.matrix->multiply(gates.score, kLanes, head.gates, call.words, queries, call.words, count, kLanes,
                          call.words);
  }
  if (gates.factor) gate_factor(call, lanes, gates.factor);
}

void start_outer(const Call& call, const TileLanes& lanes, Gates& gates, float* m, float* z) {
  std::fill(m, m + kLanes, kNothing);
  std::fill(z, z + kLanes, 0.0F);
  const int64_t count = lanes.gates_max;
  const Range seen{nullptr, lanes.gates};
  if (!call.miss()) {
    if (count > 0) call.lane->collect(gates.score, count, call.scale_log2, seen, m, z);
    return;
  }
  const float* miss = gates.score + static_cast<int64_t>(call.layout[lanes.b].gate.size()) * kLanes;
  call.lane->collect(miss, 1, call.scale_log2, {}, m, z);
  part_of(call, lanes, gates, false);
  if (count > 0) call.lane->collect(gates.part, count, call.scale_log2, seen, m, z);
}

void finish_gates(const Call& call, const TileLanes& lanes, Gates& gates, const float* m, const float* z) {
  const int64_t count = lanes.gates_max;
  if (!call.miss()) {
    call.lane->gates(gates.score, count, call.scale_log2, lanes.gates, m, gates.won);
    return;
  }
  const int32_t always[kLanes] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const float* miss = gates.score + static_cast<int64_t>(call.layout[lanes.b].gate.size()) * kLanes;
  call.lane->gates(miss, 1, call.scale_log2, always, m, gates.miss);
  std::fill(gates.controlled_max, gates.controlled_max + kLanes, kNothing);
  std::fill(gates.controlled_sum, gates.controlled_sum + kLanes, 0.0F);
  part_of(call, lanes, gates, true);
  call.lane->collect(gates.part, count, call.scale_log2, {nullptr, lanes.gates}, gates.controlled_max,
                     gates.controlled_sum);
  call.lane->gates(gates.part, count, call.scale_log2, lanes.gates, gates.controlled_max, gates.won);
  float by[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    if (call.options->miss_cutoff && gates.miss[l] < *call.options->miss_cutoff * z[l]) gates.miss[l] = 0;
    by[l] = gates.controlled_sum[l] > 0 ? gates.miss[l] / gates.controlled_sum[l] : 0;
  }
  call.lane->scale(gates.won, count, by);
  part_of(call, lanes, gates, false);
  call.lane->gates(gates.part, count, call.scale_log2, lanes.gates, m, gates.part);
  const float one[kLanes] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  call.lane->fold(gates.won, gates.part, count, one);
}

void gate_gradients(const Call& call, BandTile& tile, const std::vector<char>& wanted, int64_t n) {
  const Gates& gates = tile.gates;
  const int64_t b = tile.lanes.b, seen = tile.lanes.gates_max;
  auto block_gradient = [&](int64_t gate, int64_t lane) {
    const int64_t at = gate * kLanes + lane;
    return gates.factor ? tile.block_grad[at] * gates.factor[at] : tile.block_grad[at];
  };
  // With a context-miss key: per lane the sum of Pc D_g over the controlled gates.
  float all[kLanes] = {};
  for (int64_t gate = 0; call.miss() && gate < seen; ++gate) {
    if (!controlled(call, b, gate)) continue;
    for (int64_t l = 0; l < kLanes; ++l) {
      if (gates.miss[l] > 0) all[l] += gates.won[gate * kLanes + l] / gates.miss[l] * block_gradient(gate, l);
    }
  }
  float* ds = gates.score;
  std::fill(ds, ds + n * kLanes, 0.0F);
  for (int64_t gate = 0; gate < seen; ++gate) {
    if (!wanted[gate]) continue;
    const float* less = call.miss() && controlled(call, b, gate) ? all : tile.delta;
    for (int64_t l = 0; l < kLanes; ++l) {
      ds[gate * kLanes + l] = gates.won[gate * kLanes + l] * (block_gradient(gate, l) - less[l]);
    }
  }
  if (!call.miss()) return;
  float* miss = ds + static_cast<int64_t>(call.layout[b].gate.size()) * kLanes;
  for (int64_t l = 0; l < kLanes; ++l) miss[l] = gates.miss[l] * (all[l] - tile.delta[l]);
}

}  // namespace mneme::landmark
