// The running softmax over one block of keys. See attention_vector.h for who includes this.
#pragma once

#include "ops/attention_kernels.h"
#include "ops/attention_product_body.h"

namespace mneme {
namespace {

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t clamped(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

// Columns [0, keep) and [low, high) of a row are seen.
struct Span {
  int64_t keep, low, high;
};
MNEME_INLINE Span span_of(const Sights& s, int64_t row) {
  const int64_t at = s.position[row];
  const int64_t high = s.causal ? clamped(at + 1, 0, s.keys) : s.keys;
  const int64_t low = s.window > 0 ? clamped(at - s.window + 1, 0, high) : 0;
  return {clamped(s.keep, 0, smaller(low, high)), low, high};
}

MNEME_INLINE void hide(float* score, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; ++c) score[c] = kHidden;
}

// Adds ALiBi and biases and hides what is not seen, in columns [0, columns) of each real row.
MNEME_INLINE void apply_sights(const Sights& s, float* score, int64_t columns) {
  for (int64_t r = 0; r < s.queries; ++r, score += kScoreStride) {
    const Span span = span_of(s, r);
    if (s.alibi) {
      const Vf slope = splat(s.slope[r]);
      const Vf offset = count_up() - static_cast<float>(s.position[r]);
      for (int64_t c = 0; c < columns; c += kLanes) {
        store(score + c, load<Vf>(score + c) + slope * (offset + static_cast<float>(c)));
      }
    }
    if (s.added) {
      const float* added = s.added + r * kBlockKeys;
      for (int64_t c = 0; c < columns; c += kLanes)
        store(score + c, load<Vf>(score + c) + load<Vf>(added + c));
    }
    hide(score, span.keep, span.low);
    hide(score, span.high, columns);
  }
}

// Whether some real query misses some real key, or scores need more than the product.
MNEME_INLINE bool sights_matter(const Sights& s) {
  if (s.alibi || s.added) return true;
  if (s.causal && s.lowest < s.keys - 1) return true;
  return s.window > 0 && s.highest >= s.window && s.keep < s.keys;
}

struct Running {
  float *top, *sum, *out;
};

// Raises the maxima of rows [0, rows) by their scores, and scales what they have gathered down to the new
// ones.
template <bool kRough>
MNEME_INLINE void raise_tops(const float* score, int64_t rows, int64_t columns, float scale_log2, Running run,
                             int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = score + r * kScoreStride;
    Vf a = load<Vf>(row), b = load<Vf>(row + kLanes);
    for (int64_t c = 2 * kLanes; c < columns; c += 2 * kLanes) {
      a = larger(load<Vf>(row + c), a);
      b = larger(load<Vf>(row + c + kLanes), b);
    }
    const float highest = largest_lane(larger(a, b));
    if (!(highest > run.top[r])) continue;
    const Vf shrink = exp2_of<kRough>(splat((run.top[r] - highest) * scale_log2));
    run.top[r] = highest;
    for (int64_t c = 0; c < 16; c += kLanes)
      store(run.sum + r * 16 + c, load<Vf>(run.sum + r * 16 + c) * shrink);
    float* out = run.out + r * width;
    for (int64_t c = 0; c < width; c += kLanes) store(out + c, load<Vf>(out + c) * shrink);
  }
}

MNEME_INLINE void shifts(float* to, const float* top, float scale_log2) {
  for (int64_t r = 0; r < kTileQueries; r += kLanes) store(to + r, load<Vf>(top + r) * scale_log2);
}

// Scores of `rows`, one step of 16 words, become weights in place: words of the same row from its start.
template <bool kPairs>
MNEME_INLINE void weigh(float* score, int64_t rows, int64_t word, float scale_log2, const float* shift,
                        float* sum, const float* factor) {
  constexpr int64_t kColumns = kPairs ? 32 : 16;
  const int64_t from = kPairs ? 2 * word : word;
  for (int64_t r = 0; r < rows; ++r, score += kScoreStride) {
    const Vf down = splat(shift[r]);
    Vf weight[kColumns / kLanes];
    for (int x = 0; x < kColumns / kLanes; ++x) {
      weight[x] = exp2_of<kPairs>(load<Vf>(score + from + x * kLanes) * scale_log2 - down);
    }
    for (int x = 0; x < kParts; ++x) {
      Vf total = load<Vf>(sum + r * 16 + x * kLanes) + weight[x];
      if constexpr (kPairs) total += weight[x + kParts];
      store(sum + r * 16 + x * kLanes, total);
    }
    if (factor) {
      for (int x = 0; x < kColumns / kLanes; ++x) {
        weight[x] *= load<Vf>(factor + r * kBlockKeys + from + x * kLanes);
      }
    }
    if constexpr (!kPairs) {
      for (int x = 0; x < kParts; ++x) store(score + from + x * kLanes, weight[x]);
    } else {
#if defined(__AVX512BF16__)
      store(reinterpret_cast<uint32_t*>(score) + word, in_order(weight[0], weight[1]));
#endif
    }
  }
}

template <class Unit>
void forward_tile(const ForwardTile& t) {
  const Sights& s = *t.sights;
  const int64_t rows = padded(s.queries), columns = padded(s.keys, 32);
  Unit::template product<false>(t.score, kScoreStride, t.q, t.words, t.k, t.words, rows, columns, t.words);
  if (columns != s.keys || sights_matter(s)) apply_sights(s, t.score, columns);
  raise_tops<Unit::kPairs>(t.score, s.queries, columns, t.scale_log2, {t.top, t.sum, t.out}, t.columns);
  float shift[kTileQueries];
  shifts(shift, t.top, t.scale_log2);
  constexpr int64_t kPerWord = Unit::kPairs ? 2 : 1;
  Unit::product_of_prepared(
      t.out, t.columns, reinterpret_cast<const uint32_t*>(t.score), kScoreStride, t.v, kBlockKeys / kPerWord,
      rows, t.columns, columns / kPerWord, [&](int64_t row, int64_t word, int64_t quarter) {
        const int64_t r = row + 4 * quarter;
        weigh<Unit::kPairs>(t.score + r * kScoreStride, 4, word, t.scale_log2, shift + r, t.sum + r * 16,
                            s.factor ? s.factor + r * kBlockKeys : nullptr);
      });
}

}  // namespace
}  // namespace mneme
