// The kernels of landmark_kernels.h on vectors of any width: a vector is a run of lanes, loops run down the
// keys. See attention_vector.h for who includes this (here: landmark_{baseline,avx2,avx512}.cc).
#pragma once

#include "ops/attention_pack_body.h"
#include "ops/landmark_kernels.h"

namespace mneme::landmark {
namespace {

constexpr int64_t kRow = mneme::landmark::kLanes;
constexpr int64_t kStep = mneme::kLanes;  // of a vector

MNEME_INLINE Vi integers(const int32_t* p) { return load<Vi>(p); }
MNEME_INLINE Vf choose(Vi mask, Vf yes, Vf no) { return mask ? yes : no; }

// kSome: sight is limited by the range; else everything is seen.
struct LaneRange {
  Vi lo, hi;
  MNEME_INLINE LaneRange(Range r, int64_t lane)
      : lo(r.lo ? integers(r.lo + lane) : Vi{}), hi(r.hi ? integers(r.hi + lane) : Vi{} + 0x7fffffff) {}
  MNEME_INLINE Vi sees(int64_t key) const {
    const Vi j = Vi{} + static_cast<int32_t>(key);
    return (lo <= j) & (hi > j);
  }
};

template <bool kSome>
MNEME_INLINE Vf largest(const float* s, int64_t n, const LaneRange& range, int64_t lane, Vf start) {
  Vf top[4] = {start, start, start, start};
  const float* at = s + lane;
  auto one = [&](int64_t j, int x) {
    Vf score = load<Vf>(at + j * kRow);
    if constexpr (kSome) score = choose(range.sees(j), score, splat(kNothing));
    top[x] = larger(score, top[x]);
  };
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    for (int x = 0; x < 4; ++x) one(j + x, x);
  }
  for (; j < n; ++j) one(j, 0);
  return larger(larger(top[0], top[1]), larger(top[2], top[3]));
}

// Two neighbouring keys of the lanes at `lane` into a panel.
template <bool kPairs>
MNEME_INLINE void to_panel(Panel panel, int64_t key, int64_t lane, Vf first, Vf second) {
  uint32_t* half = panel.data + (lane / 16) * panel.words * 16 + lane % 16;
  if constexpr (kPairs) {
    store(half + key / 2 * 16, pairs(first, second));
  } else {
    store(half + key * 16, first);
    store(half + (key + 1) * 16, second);
  }
}

// kCount neighbouring vectors of lanes, from `lane` on, of one key into a row. In pairs: all lanes.
template <bool kPairs, int kCount>
MNEME_INLINE void to_row(uint32_t* row, int64_t lane, const Vf (&x)[kCount]) {
  if constexpr (kPairs) {
#if defined(__AVX512BF16__)
    store(row, in_order(x[0], x[1]));
#endif
  } else {
    for (int i = 0; i < kCount; ++i) store(row + lane + i * kStep, x[i]);
  }
}

template <bool kPairs, bool kSome>
void collect_in(const float* s, int64_t n, float scale, Range given, float* m, float* z) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    const LaneRange range(given, lane);
    const Vf before = load<Vf>(m + lane);
    const Vf top = largest<kSome>(s, n, range, lane, splat(kNothing)) * scale;
    const Vf now = larger(top, before);
    Vf sum = load<Vf>(z + lane) * exp2_of<kPairs>(before - now);
    for (int64_t j = 0; j < n; ++j) {
      Vf e = exp2_of<kPairs>(load<Vf>(s + j * kRow + lane) * scale - now);
      if constexpr (kSome) e = choose(range.sees(j), e, Vf{});
      sum += e;
    }
    store(m + lane, now);
    store(z + lane, sum);
  }
}

template <bool kPairs>
void collect(const float* s, int64_t n, float scale, Range range, float* m, float* z) {
  if (range.lo || range.hi) return collect_in<kPairs, true>(s, n, scale, range, m, z);
  collect_in<kPairs, false>(s, n, scale, range, m, z);
}

template <bool kPairs, bool kSome>
void advance_in(const float* s, int64_t n, float scale, Range given, const float* factor, float* m, float* z,
                float* rescale, Panel panel) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    const LaneRange range(given, lane);
    const Vf before = load<Vf>(m + lane);
    const Vf now = larger(largest<kSome>(s, n, range, lane, splat(kNothing)) * scale, before);
    const Vf down = exp2_of<kPairs>(before - now);
    Vf sum = load<Vf>(z + lane) * down;
    for (int64_t j = 0; j < n; j += 2) {
      Vf e[2];
      for (int x = 0; x < 2; ++x) {
        e[x] = exp2_of<kPairs>(load<Vf>(s + (j + x) * kRow + lane) * scale - now);
        if constexpr (kSome) e[x] = choose(range.sees(j + x), e[x], Vf{});
        sum += e[x];
        if (factor) e[x] *= load<Vf>(factor + (j + x) * kRow + lane);
      }
      to_panel<kPairs>(panel, j, lane, e[0], e[1]);
    }
    store(m + lane, now);
    store(z + lane, sum);
    store(rescale + lane, down);
  }
}

template <bool kPairs>
void advance(const float* s, int64_t n, float scale, Range range, const float* factor, float* m, float* z,
             float* rescale, Panel panel) {
  if (range.lo || range.hi) return advance_in<kPairs, true>(s, n, scale, range, factor, m, z, rescale, panel);
  advance_in<kPairs, false>(s, n, scale, range, factor, m, z, rescale, panel);
}

template <bool kPairs, bool kFactor>
MNEME_INLINE void spread_in(float* s, int64_t first, int64_t n, float scale, const float* won,
                            const float* factor, Panel panel) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    float* at = s + lane;
    const Vf top = largest<false>(s, n, LaneRange({}, 0), lane, load<Vf>(at)) * scale;
    Vf sum{};
    for (int64_t j = 0; j < n; ++j) {
      const Vf e = exp2_of<kPairs>(load<Vf>(at + j * kRow) * scale - top);
      store(at + j * kRow, e);
      sum += e;
    }
    const Vf gate = load<Vf>(won + lane);
    const Vi some = gate != Vf{};
    const Vf by = gate / sum;
    auto weight = [&](int64_t j) {
      Vf w = choose(some, load<Vf>(at + j * kRow) * by, Vf{});
      if constexpr (kFactor) w *= load<Vf>(factor + j * kRow + lane);
      return w;
    };
    int64_t j = 0;
    for (; j + 2 <= n; j += 2) to_panel<kPairs>(panel, first + j, lane, weight(j), weight(j + 1));
    if (j < n) to_panel<kPairs>(panel, first + j, lane, weight(j), Vf{});
  }
}

template <bool kPairs>
void spread(float* s, int64_t first, int64_t n, float scale, const float* won, const float* factor,
            Panel panel) {
  if (factor) return spread_in<kPairs, true>(s, first, n, scale, won, factor, panel);
  spread_in<kPairs, false>(s, first, n, scale, won, factor, panel);
}

template <bool kPairs>
void gates(const float* s, int64_t n, float scale, const int32_t* seen, const float* m, float* w) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    const Vi count = integers(seen + lane);
    const Vf top = load<Vf>(m + lane);
    for (int64_t j = 0; j < n; ++j) {
      const Vf e = exp2_of<kPairs>(load<Vf>(s + j * kRow + lane) * scale - top);
      store(w + j * kRow + lane, choose(count > static_cast<int32_t>(j), e, Vf{}));
    }
  }
}

void scale_by(float* acc, int64_t rows, const float* by) {
  for (int64_t r = 0; r < rows; ++r, acc += kRow) {
    for (int64_t lane = 0; lane < kRow; lane += kStep)
      store(acc + lane, load<Vf>(acc + lane) * load<Vf>(by + lane));
  }
}

void fold(float* acc, const float* add, int64_t rows, const float* by) {
  for (int64_t r = 0; r < rows; ++r, acc += kRow, add += kRow) {
    for (int64_t lane = 0; lane < kRow; lane += kStep) {
      store(acc + lane, load<Vf>(acc + lane) + load<Vf>(add + lane) * load<Vf>(by + lane));
    }
  }
}

template <bool kPairs>
void store_lanes(const float* acc, int64_t width, const float* by, void* const* rows, bool half) {
  constexpr int64_t kColumns = 128;
  alignas(64) float turned[kRow * kColumns];
  for (int64_t at = 0; at < width; at += kColumns) {
    const int64_t here = width - at < kColumns ? width - at : kColumns, stride = padded(here);
    turn(turned, acc + at * kRow, stride, kRow);
    for (int64_t lane = 0; lane < kRow; ++lane) {
      if (!rows[lane]) continue;
      char* to = static_cast<char*>(rows[lane]) + at * (half ? 2 : 4);
      write_row<kPairs>(to, turned + lane * stride, by[lane], here, half);
    }
  }
}

// Words over the rows given, for each column: 16 at a time.
template <bool kPairs, class T>
void turn_rows_of(uint32_t* to, int64_t stride, const void* const* rows, int64_t count, int64_t width) {
  constexpr int64_t kColumns = 128, kRowsOf16 = kPairs ? 32 : 16;
  alignas(64) uint32_t buffer[16 * kColumns];
  for (int64_t r = 0; r < count; r += kRowsOf16, to += 16) {
    for (int64_t d = 0; d < width; d += kColumns) {
      const int64_t here = width - d < kColumns ? width - d : kColumns;
      const uint32_t* words[16];
      for (int64_t i = 0; i < 16; ++i) {
        words[i] = buffer + i * kColumns;
        auto row = [&](int64_t x) -> const T* {
          const T* at = x < count ? static_cast<const T*>(rows[x]) : nullptr;
          return at ? at + d : nullptr;
        };
        if constexpr (kPairs) {
          interleave(buffer + i * kColumns, 16, row(r + 2 * i), row(r + 2 * i + 1), here);
        } else {
          words_of_row<false>(buffer + i * kColumns, padded(here), row(r + i), here);
        }
      }
      for (int64_t x = 0; x < here; x += 16) transpose16(to + (d + x) * stride, stride, words, x);
    }
  }
}

template <bool kPairs>
void turn_rows(uint32_t* to, int64_t stride, const void* const* rows, int64_t count, int64_t width,
               bool half) {
  if (half) {
    turn_rows_of<kPairs, uint16_t>(to, stride, rows, count, width);
  } else if constexpr (!kPairs) {
    turn_rows_of<false, float>(to, stride, rows, count, width);
  }
}

void dots(const void* const* a, const void* const* b, int64_t width, bool half, float* out) {
  for (int64_t r = 0; r < kRow; ++r) out[r] = a[r] && b[r] ? dot(a[r], b[r], width, half) : 0;
}

void line(const void* a, const void* const* b, int64_t n, int64_t width, bool half, float* out) {
  for (int64_t j = 0; j < n; ++j) out[j] = dot(a, b[j], width, half);
}

template <bool kPairs>
void whole(float* s, const float* dp, int64_t n, float scale, float* m, float* z, float* g) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    float* at = s + lane;
    const Vf top = largest<false>(s, n, LaneRange({}, 0), lane, load<Vf>(at)) * scale;
    Vf sum{}, back{};
    for (int64_t j = 0; j < n; ++j) {
      const Vf e = exp2_of<kPairs>(load<Vf>(at + j * kRow) * scale - top);
      store(at + j * kRow, e);
      sum += e;
      back += e * load<Vf>(dp + j * kRow + lane);
    }
    store(m + lane, top);
    store(z + lane, sum);
    store(g + lane, back);
  }
}

template <bool kPairs>
void collect_both(const float* s, const float* dp, int64_t n, float scale, float* m, float* z, float* g) {
  for (int64_t lane = 0; lane < kRow; lane += kStep) {
    const Vf before = load<Vf>(m + lane);
    const Vf now = larger(largest<false>(s, n, LaneRange({}, 0), lane, splat(kNothing)) * scale, before);
    const Vf down = exp2_of<kPairs>(before - now);
    Vf sum = load<Vf>(z + lane) * down, back = load<Vf>(g + lane) * down;
    for (int64_t j = 0; j < n; ++j) {
      const Vf e = exp2_of<kPairs>(load<Vf>(s + j * kRow + lane) * scale - now);
      sum += e;
      back += e * load<Vf>(dp + j * kRow + lane);
    }
    store(m + lane, now);
    store(z + lane, sum);
    store(g + lane, back);
  }
}

constexpr int kVectors = kRow / kStep;
template <bool kPairs>
constexpr int kTogether = kPairs ? kVectors : 1;  // vectors of lanes that share a row's words

// Of some neighbouring vectors of lanes.
template <int kCount>
struct Gradient {
  Vf p[kCount], ds[kCount];
};

// Rows and panel of all keys; one(j, x) gives weight and score gradient of key j in the vector x of lanes. An
// odd last key gets a partner of 0.
template <bool kPairs, class One>
MNEME_INLINE void emit(const Outputs& out, int64_t first, int64_t n, One one) {
  constexpr int kCount = kTogether<kPairs>;
  for (int from = 0; from < kVectors; from += kCount) {
    const int64_t lane = from * kStep;
    for (int64_t j = 0; j < n; j += 2) {
      Gradient<kCount> a, b{};
      for (int x = 0; x < kCount; ++x) one(j, from + x, a.p[x], a.ds[x]);
      for (int x = 0; x < kCount && j + 1 < n; ++x) one(j + 1, from + x, b.p[x], b.ds[x]);
      uint32_t *p = out.p + (first + j) * out.stride, *ds = out.ds + (first + j) * out.stride;
      to_row<kPairs>(p, lane, a.p);
      to_row<kPairs>(ds, lane, a.ds);
      to_row<kPairs>(p + out.stride, lane, b.p);
      to_row<kPairs>(ds + out.stride, lane, b.ds);
      for (int x = 0; x < kCount; ++x) {
        to_panel<kPairs>(out.panel, first + j, lane + x * kStep, a.ds[x], b.ds[x]);
      }
    }
  }
}

// Numbers of all lanes.
struct Lanes {
  Vf at[kVectors];
  explicit MNEME_INLINE Lanes(const float* from) {
    for (int x = 0; x < kVectors; ++x) at[x] = load<Vf>(from + x * kStep);
  }
};

template <bool kPairs, bool kFactor>
MNEME_INLINE void apply_in(const float* s, const float* dp, int64_t first, int64_t n, const float* by,
                           const float* less, const float* factor, const Outputs& out) {
  const Lanes times(by), minus(less);
  emit<kPairs>(out, first, n, [&](int64_t j, int x, Vf& p, Vf& ds) {
    const int64_t at = j * kRow + x * kStep;
    p = load<Vf>(s + at) * times.at[x];
    ds = p * (load<Vf>(dp + at) - minus.at[x]);
    if constexpr (kFactor) p *= load<Vf>(factor + at);
  });
}

template <bool kPairs>
void apply(const float* s, const float* dp, int64_t first, int64_t n, const float* by, const float* less,
           const float* factor, const Outputs& out) {
  if (factor) return apply_in<kPairs, true>(s, dp, first, n, by, less, factor, out);
  apply_in<kPairs, false>(s, dp, first, n, by, less, factor, out);
}

template <bool kPairs>
void apply_range(const float* s, const float* dp, int64_t first, int64_t n, float scale, Range given,
                 const float* m, const float* by, const float* less, const float* factor,
                 const Outputs& out) {
  const Lanes top(m), times(by), minus(less);
  emit<kPairs>(out, first, n, [&](int64_t j, int x, Vf& p, Vf& ds) {
    const int64_t at = j * kRow + x * kStep;
    const Vi sees = LaneRange(given, x * kStep).sees(j);
    p = choose(sees, exp2_of<kPairs>(load<Vf>(s + at) * scale - top.at[x]) * times.at[x], Vf{});
    ds = choose(sees, p * (load<Vf>(dp + at) - minus.at[x]), Vf{});
    if (factor) p *= load<Vf>(factor + at);
  });
}

template <bool kPairs>
void convert(const float* x, int64_t n, const Outputs& out) {
  constexpr int kCount = kTogether<kPairs>;
  for (int64_t lane = 0; lane < kRow; lane += kCount * kStep) {
    for (int64_t j = 0; j < n; j += 2) {
      Vf a[kCount], b[kCount] = {};
      for (int i = 0; i < kCount; ++i) {
        const float* at = x + j * kRow + lane + i * kStep;
        a[i] = load<Vf>(at);
        if (j + 1 < n) b[i] = load<Vf>(at + kRow);
        to_panel<kPairs>(out.panel, j, lane + i * kStep, a[i], b[i]);
      }
      to_row<kPairs>(out.ds + j * out.stride, lane, a);
      to_row<kPairs>(out.ds + (j + 1) * out.stride, lane, b);
    }
  }
}

void multiply(float* dp, const float* factor, int64_t n) {
  for (int64_t i = 0; i < n * kRow; i += kStep) store(dp + i, load<Vf>(dp + i) * load<Vf>(factor + i));
}

template <bool kPairs>
constexpr Kernels table() {
  return {kPairs,         collect<kPairs>,     advance<kPairs>,
          spread<kPairs>, gates<kPairs>,       scale_by,
          fold,           store_lanes<kPairs>, dots,
          line,           whole<kPairs>,       collect_both<kPairs>,
          apply<kPairs>,  apply_range<kPairs>, convert<kPairs>,
          multiply,       turn_rows<kPairs>};
}

}  // namespace
}  // namespace mneme::landmark
