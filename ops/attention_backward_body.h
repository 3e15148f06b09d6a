// Weights and score gradients of one tile of queries against a block of keys, from the saved log-sum-exp:
//   p = exp(score - lse),   ds = p (v . dout - delta)
// laid out with keys down and queries across, so that p and ds are at once the left operand of dv = p^T dout
// and dk = ds^T q, and ds by pairs of rows the panel of dq^T = k^T ds^T. See attention_vector.h for who
// includes this.
#pragma once

#include "ops/attention_forward_body.h"

namespace mneme {
namespace {

constexpr int64_t kSub = 32;  // keys at a time

// Of 16 or fewer neighbouring queries.
struct Lanes {
  Vf lse, delta, position, slope;
};

MNEME_INLINE Vf sighted(const Sights& s, const Lanes& lanes, Vf score, int64_t key) {
  const Vf j = splat(static_cast<float>(key));
  if (s.alibi) score += lanes.slope * (j - lanes.position);
  if (s.causal) score = lanes.position < j ? splat(kHidden) : score;
  if (s.window > 0 && key >= s.keep) {
    score = lanes.position - static_cast<float>(s.window) >= j ? splat(kHidden) : score;
  }
  return score;
}

// One vector of queries of row `key`: its weight (with dropout's factor) and score gradient.
template <bool kRough>
MNEME_INLINE void weight_and_gradient(const BackwardTile& t, bool matter, const Lanes& lanes,
                                      const float* score, const float* back, int64_t key, int64_t query,
                                      Vf& p, Vf& ds) {
  const Sights& s = *t.sights;
  Vf x = load<Vf>(score), g = load<Vf>(back);
  if (matter) {
    if (s.added) x += load<Vf>(s.added + key * kTileQueries + query);
    x = sighted(s, lanes, x, key);
  }
  p = exp2_of<kRough>(x * t.scale_log2 - lanes.lse);
  if (s.factor) {
    const Vf factor = load<Vf>(s.factor + key * kTileQueries + query);
    ds = p * (g * factor - lanes.delta);
    p *= factor;
  } else {
    ds = p * (g - lanes.delta);
  }
}

MNEME_INLINE Lanes lanes_at(const BackwardTile& t, int64_t query) {
  Vf position;
  for (int i = 0; i < kLanes; ++i) position[i] = static_cast<float>(t.sights->position[query + i]);
  return {load<Vf>(t.lse + query), load<Vf>(t.delta + query), position, load<Vf>(t.sights->slope + query)};
}

// `beside(i)` is called between the rows, for i = 0 to 15.
template <bool kPairs, class Beside>
MNEME_INLINE void backward_sub(const BackwardTile& t, bool matter, const float* score, int64_t first,
                               Beside beside) {
  const Sights& s = *t.sights;
  constexpr int kAcross = kTileQueries / kLanes;
  Lanes lanes[kAcross];
  for (int x = 0; x < kAcross; ++x) lanes[x] = lanes_at(t, x * kLanes);
  for (int64_t i = 0; i < kSub; i += 2) {
    const int64_t key = first + i;
    beside(i / 2);
    Vf p[2][kAcross] = {}, ds[2][kAcross] = {};
    for (int64_t down = 0; down < 2; ++down) {
      if (key + down >= s.keys) continue;
      const float* row = score + (i + down) * kTileQueries;
      for (int x = 0; x < kAcross; ++x) {
        weight_and_gradient<kPairs>(t, matter, lanes[x], row + x * kLanes,
                                    row + kSub * kTileQueries + x * kLanes, key + down, x * kLanes,
                                    p[down][x], ds[down][x]);
      }
    }
    for (int64_t down = 0; down < 2; ++down) {
      uint32_t* p_row = t.p + (key + down) * t.stride;
      uint32_t* ds_row = t.ds + (key + down) * t.stride;
      if constexpr (kPairs) {
#if defined(__AVX512BF16__)
        store(p_row, in_order(p[down][0], p[down][1]));
        store(ds_row, in_order(ds[down][0], ds[down][1]));
#endif
      } else {
        for (int x = 0; x < kAcross; ++x) {
          store(p_row + x * kLanes, p[down][x]);
          store(ds_row + x * kLanes, ds[down][x]);
          store(t.ds_panel + (x / kParts) * t.panel_words * 16 + (key + down) * 16 + (x % kParts) * kLanes,
                ds[down][x]);
        }
      }
    }
#if defined(__AVX512BF16__)
    if constexpr (kPairs) {
      for (int x = 0; x < kAcross; ++x) {
        store(t.ds_panel + x * t.panel_words * 16 + (key / 2) * 16, pairs(ds[0][x], ds[1][x]));
      }
    }
#endif
  }
}

template <class Unit>
void backward_tile(const BackwardTile& t) {
  const Sights& s = *t.sights;
  constexpr int64_t kHalf = 2 * kSub * kTileQueries;  // scores and their counterparts of one step
  const bool matter = sights_matter(s);
  auto products = [&](int64_t first) {
    return typename Unit::TwoProducts(t.score + (first / kSub % 2) * kHalf, t.k + first * t.words, t.q,
                                      t.v + first * t.words, t.dout, t.words);
  };
  auto before = products(0);
  for (int64_t i = 0; i < kSub / 2; ++i) before.part(i);
  for (int64_t first = 0; first < s.keys; first += kSub) {
    // The next step's products run beside this step's vectors.
    auto next = products(first + kSub);
    const bool more = first + kSub < s.keys;
    backward_sub<Unit::kPairs>(t, matter, t.score + (first / kSub % 2) * kHalf, first, [&](int64_t i) {
      if (more) next.part(i);
    });
  }
}

}  // namespace
}  // namespace mneme
