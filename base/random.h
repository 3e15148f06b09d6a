// Random numbers as a function of where they are used, not of what was drawn before: Philox4x32-10 (Salmon,
// Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3) keyed by a Site. The same site gives the
// same bits after a resume, in a replay, on any rank, thread count and instruction set (normals: as long as
// libm is the same for Random::normal; fill_normal needs no libm).
//
// Not for cryptography, and not libtorch's generator, which is left alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mneme {

// What a number is drawn for. Two uses with equal coordinates must not share one; add a name for a new use.
enum class Draw : uint16_t {
  other = 0,
  init,     // initial weights
  shuffle,  // order of documents or windows
  task,     // generated examples
  sample,   // next tokens
  dropout_embedding,
  dropout_attention,
  dropout_residual,
  dropout_lora,
  dropout_memory,
  segment_length,  // random cuts of training texts
  noise,
  dropout_gate,  // of the gates of landmark attention
  landmark,      // where a training text begins in its block, gaps of positions, controlled landmarks
};

// Coordinates of a draw. `row` is the row of the global batch, so that ranks agree; `position` counts
// elements.
struct Site {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t row = 0;
  uint32_t segment = 0;
  uint16_t layer = 0;
  Draw draw = Draw::other;
  uint64_t position = 0;
};

// The block function itself: 128 bits from a counter and a key.
std::array<uint32_t, 4> philox(const std::array<uint32_t, 4>& counter, const std::array<uint32_t, 2>& key);

// Numbers drawn one after another, beginning at a site; site.position counts blocks of 128 bits here. 2^64
// blocks.
class Random {
 public:
  explicit Random(const Site& site);
  uint32_t bits();
  uint64_t bits64();
  double uniform();                            // [0, 1), 53 bits
  double normal();                             // mean 0, deviation 1
  uint64_t below(uint64_t n);                  // 0 <= x < n without bias; n > 0
  int64_t between(int64_t low, int64_t high);  // low <= x <= high
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::array<uint32_t, 4> counter_{}, block_{};
  std::array<uint32_t, 2> key_{};
  unsigned used_ = 4;
};

// Bulk. Element i depends on the site and site.position + i alone: filling [0, n) at once or in pieces, by
// any number of threads, gives the same. Large fills use all threads.
void fill_uniform(const Site& site, float* out, size_t count);  // [0, 1), 24 bits
void fill_normal(const Site& site, float* out, size_t count, float mean = 0, float deviation = 1);
void fill_bits(const Site& site, uint32_t* out, size_t count);
// 1 with probability `keep` (to 2^-16), else 0: a dropout mask.
void fill_keep(const Site& site, double keep, uint8_t* out, size_t count);

}  // namespace mneme
