#define MNEME_VECTOR_BYTES 64
#include "ops/attention_table.h"

namespace mneme {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The compiler does not know that a tile load reads memory: what was stored before must have been stored.
MNEME_INLINE void settle() { __asm__ volatile("" ::: "memory"); }

constexpr TileConfig kConfig;

struct TileUnit {
  static constexpr bool kPairs = true;

  static void begin() {
    _tile_loadconfig(&kConfig);
    begin_numbers();
  }
  static void end() {
    end_numbers();
    _tile_release();
  }

  // Tiles 0-3 hold C, 4 and 5 rows of A, 6 and 7 columns of B.
  template <bool kAdd, bool kTwoDown, bool kTwoAcross>
  static MNEME_INLINE void block(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                                 int64_t panel_words, int64_t words) {
    const int64_t c_step = ldc * 4, a_step = lda * 4;
    if constexpr (kAdd) {
      _tile_loadd(0, c, c_step);
      if constexpr (kTwoAcross) _tile_loadd(1, c + 16, c_step);
      if constexpr (kTwoDown) _tile_loadd(2, c + 16 * ldc, c_step);
      if constexpr (kTwoDown && kTwoAcross) _tile_loadd(3, c + 16 * ldc + 16, c_step);
    } else {
      _tile_zero(0);
      if constexpr (kTwoAcross) _tile_zero(1);
      if constexpr (kTwoDown) _tile_zero(2);
      if constexpr (kTwoDown && kTwoAcross) _tile_zero(3);
    }
    for (int64_t w = 0; w < words; w += 16) {
      _tile_loadd(4, a + w, a_step);
      _tile_loadd(6, b + w * 16, 64);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kTwoAcross) {
        _tile_loadd(7, b + (panel_words + w) * 16, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (kTwoDown) {
        _tile_loadd(5, a + 16 * lda + w, a_step);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (kTwoAcross) _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c, c_step);
    if constexpr (kTwoAcross) _tile_stored(1, c + 16, c_step);
    if constexpr (kTwoDown) _tile_stored(2, c + 16 * ldc, c_step);
    if constexpr (kTwoDown && kTwoAcross) _tile_stored(3, c + 16 * ldc + 16, c_step);
  }

  template <bool kAdd, bool kTwoDown>
  static MNEME_INLINE void band(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                                int64_t panel_words, int64_t n, int64_t words) {
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) {
      block<kAdd, kTwoDown, true>(c + j, ldc, a, lda, b + j * panel_words, panel_words, words);
    }
    if (j < n) block<kAdd, kTwoDown, false>(c + j, ldc, a, lda, b + j * panel_words, panel_words, words);
  }

  template <bool kAdd>
  static void product(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                      int64_t panel_words, int64_t m, int64_t n, int64_t words) {
    settle();
    int64_t i = 0;
    for (; i + 32 <= m; i += 32)
      band<kAdd, true>(c + i * ldc, ldc, a + i * lda, lda, b, panel_words, n, words);
    if (i < m) band<kAdd, false>(c + i * ldc, ldc, a + i * lda, lda, b, panel_words, n, words);
  }

  // 16 rows by kTiles * 16 columns of C += A B. The vectors that prepare the next step stand between the
  // tiles of this one, close enough for the processor to run both at once.
  template <int kTiles, class Prepare>
  static MNEME_INLINE void strip(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                                 int64_t panel_words, int64_t words, Prepare prepare) {
    const int64_t c_step = ldc * 4, a_step = lda * 4, b_step = panel_words * 16;
    for (int64_t quarter = 0; quarter < 4; ++quarter) prepare(0, quarter);
    settle();
    _tile_loadd(0, c, c_step);
    if constexpr (kTiles > 1) _tile_loadd(1, c + 16, c_step);
    if constexpr (kTiles > 2) _tile_loadd(2, c + 32, c_step);
    if constexpr (kTiles > 3) _tile_loadd(3, c + 48, c_step);
    for (int64_t w = 0; w < words; w += 16, b += 256) {
      const bool more = w + 16 < words;
      settle();
      _tile_loadd(4, a + w, a_step);
      _tile_loadd(6, b, 64);
      _tile_dpbf16ps(0, 4, 6);
      if (more) prepare(w + 16, 0);
      if constexpr (kTiles > 1) {
        _tile_loadd(7, b + b_step, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if (more) prepare(w + 16, 1);
      if constexpr (kTiles > 2) {
        _tile_loadd(6, b + 2 * b_step, 64);
        _tile_dpbf16ps(2, 4, 6);
      }
      if (more) prepare(w + 16, 2);
      if constexpr (kTiles > 3) {
        _tile_loadd(7, b + 3 * b_step, 64);
        _tile_dpbf16ps(3, 4, 7);
      }
      if (more) prepare(w + 16, 3);
    }
    _tile_stored(0, c, c_step);
    if constexpr (kTiles > 1) _tile_stored(1, c + 16, c_step);
    if constexpr (kTiles > 2) _tile_stored(2, c + 32, c_step);
    if constexpr (kTiles > 3) _tile_stored(3, c + 48, c_step);
  }

  template <class Prepare>
  static void product_of_prepared(float* c, int64_t ldc, const uint32_t* a, int64_t lda, const uint32_t* b,
                                  int64_t panel_words, int64_t m, int64_t n, int64_t words, Prepare prepare) {
    for (int64_t i = 0; i < m; i += 16, c += 16 * ldc, a += 16 * lda) {
      for (int64_t j = 0; j < n; j += 64) {
        auto run = [&](auto make) {
          const uint32_t* panel = b + j * panel_words;
          switch (n - j) {
            case 16:
              return strip<1>(c + j, ldc, a, lda, panel, panel_words, words, make);
            case 32:
              return strip<2>(c + j, ldc, a, lda, panel, panel_words, words, make);
            case 48:
              return strip<3>(c + j, ldc, a, lda, panel, panel_words, words, make);
            default:
              return strip<4>(c + j, ldc, a, lda, panel, panel_words, words, make);
          }
        };
        if (j == 0) {
          run([&](int64_t w, int64_t quarter) { prepare(i, w, quarter); });
        } else {
          run([](int64_t, int64_t) {});
        }
      }
    }
  }
  // Two products of 32 x 32 in 16 parts, for vector code to stand between them; see VectorUnit.
  class TwoProducts {
   public:
    TwoProducts(float* to, const uint32_t* a, const uint32_t* b, const uint32_t* a2, const uint32_t* b2,
                int64_t words)
        : to_(to), a_(a), b_(b), a2_(a2), b2_(b2), words_(words), steps_(words / 16) {}

    MNEME_INLINE void part(int64_t i) {
      for (const int64_t end = steps_ * (i + 1) / 2; done_ < end; ++done_) step();
    }

   private:
    MNEME_INLINE void step() {
      switch (done_ % 4) {
        case 0:
          if (word_ == 0) zero();
          _tile_loadd(4, a_ + word_, words_ * 4);
          _tile_loadd(6, b_ + word_ * 16, 64);
          _tile_dpbf16ps(0, 4, 6);
          return;
        case 1:
          _tile_loadd(7, b_ + (words_ + word_) * 16, 64);
          _tile_dpbf16ps(1, 4, 7);
          return;
        case 2:
          _tile_loadd(5, a_ + 16 * words_ + word_, words_ * 4);
          _tile_dpbf16ps(2, 5, 6);
          return;
        default:
          _tile_dpbf16ps(3, 5, 7);
          word_ += 16;
          if (word_ == words_) finish();
      }
    }

    static MNEME_INLINE void zero() {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }

    MNEME_INLINE void finish() {
      _tile_stored(0, to_, 128);
      _tile_stored(1, to_ + 16, 128);
      _tile_stored(2, to_ + 16 * 32, 128);
      _tile_stored(3, to_ + 16 * 32 + 16, 128);
      to_ += 32 * 32;
      word_ = 0;
      a_ = a2_;
      b_ = b2_;
    }

    float* to_;
    const uint32_t *a_, *b_;
    const uint32_t *const a2_, *const b2_;
    const int64_t words_, steps_;
    int64_t done_ = 0, word_ = 0;
  };
};

}  // namespace

const AttentionKernels kAttentionAmx = attention_table<TileUnit>();

}  // namespace mneme
