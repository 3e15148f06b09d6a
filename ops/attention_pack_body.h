// Packing of stored rows into the words of attention_kernels.h. See attention_vector.h for who includes this.
#pragma once

#include "ops/attention_kernels.h"
#include "ops/attention_vector.h"

namespace mneme {
namespace {

constexpr int64_t padded(int64_t n, int64_t to = 16) { return (n + to - 1) / to * to; }

MNEME_INLINE void clear(uint32_t* to, int64_t words) {
  __builtin_memset(to, 0, static_cast<size_t>(words) * 4);
}

// One stored row as words, zero-padded.
template <bool kPairs, class T>
MNEME_INLINE void words_of_row(uint32_t* to, int64_t words, const T* row, int64_t width) {
  if (!row) return clear(to, words);
  if constexpr (kPairs) {
    static_assert(sizeof(T) == 2, "pairs are made of bf16");
    if (width == 2 * words) {
      for (int64_t i = 0; i < width; i += 2 * kLanes) store(to + i / 2, load<Vu>(row + i));
      return;
    }
    __builtin_memcpy(to, row, static_cast<size_t>(width) * 2);
    uint16_t* half = reinterpret_cast<uint16_t*>(to);
    for (int64_t i = width; i < 2 * words; ++i) half[i] = 0;
  } else {
    float* number_at = reinterpret_cast<float*>(to);
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) store(number_at + i, numbers(row + i));
    for (; i < width; ++i) {
      if constexpr (sizeof(T) == 2) {
        number_at[i] = number(row[i]);
      } else {
        number_at[i] = row[i];
      }
    }
    clear(to + width, words - width);
  }
}

template <bool kPairs, class T>
void pack_rows_of(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width) {
  for (int64_t i = 0; i < padded(count); ++i) {
    words_of_row<kPairs>(to + i * words, words, i < count ? static_cast<const T*>(rows[i]) : nullptr, width);
  }
}

// Rows that are whole words already are read in place, others through a buffer.
template <bool kPairs, class T>
void pack_across_of(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width) {
  constexpr int64_t kChunk = 512;  // words of 16 rows at a time
  const int64_t per_word = kPairs ? 2 : 1;
  alignas(64) uint32_t buffer[16 * kChunk];
  for (int64_t i = 0; i < padded(count); i += 16, to += 16 * words) {
    for (int64_t w = 0; w < words; w += kChunk) {
      const int64_t here = words - w < kChunk ? words - w : kChunk;
      const int64_t left = width - w * per_word;
      const bool whole = kPairs == (sizeof(T) == 2) && left >= here * per_word;
      const uint32_t* words_of[16];
      for (int64_t c = 0; c < 16; ++c) {
        const T* row = i + c < count ? static_cast<const T*>(rows[i + c]) : nullptr;
        if (row) row += w * per_word;
        if (whole && row) {
          words_of[c] = reinterpret_cast<const uint32_t*>(row);
        } else {
          words_of_row<kPairs>(buffer + c * here, here, row, left < here * per_word ? left : here * per_word);
          words_of[c] = buffer + c * here;
        }
      }
      for (int64_t x = 0; x < here; x += 16) transpose16(to + (w + x) * 16, 16, words_of, x);
    }
  }
}

// Words (a[i], b[i]) of two rows of bf16.
MNEME_INLINE void interleave(uint32_t* to, int64_t step, const uint16_t* a, const uint16_t* b,
                             int64_t width) {
  int64_t i = 0;
  for (; i + 16 <= width; i += 16, to += step) {
    for (int64_t x = 0; x < 16; x += kLanes) {
      Vu low{}, high{};
      if (a) low = __builtin_convertvector(load<Vh>(a + i + x), Vu);
      if (b) high = __builtin_convertvector(load<Vh>(b + i + x), Vu) << 16;
      store(to + x, low | high);
    }
  }
  if (i == width) return;
  for (int64_t x = 0; x < 16; ++x) {
    const bool real = i + x < width;
    to[x] = (a && real ? a[i + x] : 0U) | ((b && real ? static_cast<uint32_t>(b[i + x]) : 0U) << 16);
  }
}

template <bool kPairs, class T>
void pack_down_of(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width) {
  const int64_t step = words * 16;
  for (int64_t w = 0; w < words; ++w) {
    if constexpr (kPairs) {
      const T* a = 2 * w < count ? static_cast<const T*>(rows[2 * w]) : nullptr;
      const T* b = 2 * w + 1 < count ? static_cast<const T*>(rows[2 * w + 1]) : nullptr;
      interleave(to + w * 16, step, a, b, width);
    } else {
      const T* row = w < count ? static_cast<const T*>(rows[w]) : nullptr;
      for (int64_t i = 0; i < width; i += 16) {
        words_of_row<false>(to + (i / 16) * step + w * 16, 16, row ? row + i : nullptr,
                            width - i < 16 ? width - i : 16);
      }
    }
  }
}

template <bool kPairs, class T>
void pack_turned_of(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width) {
  constexpr int64_t kMost = kBlockKeys;  // rows
  alignas(64) uint32_t panel[16 * kMost];
  for (int64_t c = 0; c < width; c += 16, to += 16 * words) {
    const void* at[kMost];
    for (int64_t i = 0; i < count; ++i) at[i] = static_cast<const T*>(rows[i]) + c;
    pack_down_of<kPairs, T>(panel, words, at, count, width - c < 16 ? width - c : 16);
    const uint32_t* words_of[16];
    for (int64_t w = 0; w < words; w += 16) {
      for (int64_t i = 0; i < 16; ++i) words_of[i] = panel + (w + i) * 16;
      transpose16(to + w, words, words_of, 0);
    }
  }
}

void turn(float* to, const float* from, int64_t m, int64_t n) {
  const uint32_t* rows[16];
  for (int64_t i = 0; i < m; i += 16) {
    for (int64_t r = 0; r < 16; ++r) rows[r] = reinterpret_cast<const uint32_t*>(from + (i + r) * n);
    for (int64_t j = 0; j < n; j += 16) transpose16(reinterpret_cast<uint32_t*>(to + j * m + i), m, rows, j);
  }
}

template <class T>
MNEME_INLINE float dot_of(const T* a, const T* b, int64_t width) {
  Vf sum{};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) sum += numbers(a + i) * numbers(b + i);
  float out = sum_lanes(sum);
  for (; i < width; ++i) {
    if constexpr (sizeof(T) == 2) {
      out += number(a[i]) * number(b[i]);
    } else {
      out += a[i] * b[i];
    }
  }
  return out;
}

float dot(const void* a, const void* b, int64_t width, bool half) {
  if (half) return dot_of(static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b), width);
  return dot_of(static_cast<const float*>(a), static_cast<const float*>(b), width);
}

template <bool kPairs>
void write_row(void* to, const float* from, float scale, int64_t width, bool half) {
  float* number_at = static_cast<float*>(to);
  uint16_t* half_at = static_cast<uint16_t*>(to);
  int64_t i = 0;
#if defined(__AVX512BF16__)
  if constexpr (kPairs) {
    for (; half && i + 2 * kLanes <= width; i += 2 * kLanes) {
      store(half_at + i, in_order(load<Vf>(from + i) * scale, load<Vf>(from + i + kLanes) * scale));
    }
  }
#endif
  for (; i + kLanes <= width; i += kLanes) {
    const Vf v = load<Vf>(from + i) * scale;
    if (half) {
      store(half_at + i, __builtin_convertvector(halves(v), Vh));
    } else {
      store(number_at + i, v);
    }
  }
  for (; i < width; ++i) {
    const Vf v = splat(from[i] * scale);
    if (half) {
      half_at[i] = static_cast<uint16_t>(halves(v)[0]);
    } else {
      number_at[i] = v[0];
    }
  }
}

#define MNEME_PACKER(name)                                                                                   \
  template <bool kPairs>                                                                                     \
  void name(uint32_t* to, int64_t words, const void* const* rows, int64_t count, int64_t width, bool half) { \
    if (half) {                                                                                              \
      name##_of<kPairs, uint16_t>(to, words, rows, count, width);                                            \
    } else if constexpr (!kPairs) {                                                                          \
      name##_of<false, float>(to, words, rows, count, width);                                                \
    }                                                                                                        \
  }
MNEME_PACKER(pack_rows)
MNEME_PACKER(pack_across)
MNEME_PACKER(pack_down)
MNEME_PACKER(pack_turned)
#undef MNEME_PACKER

}  // namespace
}  // namespace mneme
