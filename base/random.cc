#include "base/random.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/random_kernels.h"

namespace mneme {
namespace {

using random_internal::Kernels;
using random_internal::Stream;

// Seed, step and row give key and a mask of the counter's upper half by one block; segment, layer and draw
// stand in that half themselves, so within one (seed, step, row) no two of them ever meet.
Stream stream_of(const Site& s) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  const auto mixed =
      philox({low(s.step), high(s.step), low(s.row), high(s.row)}, {low(s.seed), high(s.seed)});
  const uint32_t place = (static_cast<uint32_t>(s.layer) << 16) | static_cast<uint32_t>(s.draw);
  return {{mixed[0], mixed[1]}, {mixed[2] ^ s.segment, mixed[3] ^ place}};
}

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      return random_internal::kAvx512Kernels;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return random_internal::kAvx2Kernels;
#endif
    return random_internal::kBaseKernels;
  }();
  return chosen;
}

// Calls whole(tile, tiles, out) for the tiles that lie fully inside, and copies from a spare tile at both
// ends.
template <size_t kTile, class T, class F>
void by_tiles(uint64_t position, T* out, size_t count, const F& whole) {
  const auto edge = [&](uint64_t tile, size_t from, size_t n, T* to) {
    T spare[kTile];
    whole(tile, 1, spare);
    std::memcpy(to, spare + from, n * sizeof(T));
  };
  if (const size_t from = position % kTile; from != 0 && count > 0) {
    const size_t n = std::min(count, kTile - from);
    edge(position / kTile, from, n, out);
    position += n;
    out += n;
    count -= n;
  }
  const uint64_t first = position / kTile;
  const auto tiles = static_cast<int64_t>(count / kTile);
  constexpr int64_t kChunk = 256;  // tiles; below a chunk a second thread costs more than it brings
  const int64_t chunks = (tiles + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t at = c * kChunk;
    whole(first + static_cast<uint64_t>(at), static_cast<size_t>(std::min(kChunk, tiles - at)),
          out + at * kTile);
  }
  const size_t done = static_cast<size_t>(tiles) * kTile;
  if (done < count) edge(first + static_cast<uint64_t>(tiles), 0, count - done, out + done);
}

}  // namespace

std::array<uint32_t, 4> philox(const std::array<uint32_t, 4>& counter, const std::array<uint32_t, 2>& key) {
  std::array<uint32_t, 4> c = counter;
  uint32_t ka = key[0], kb = key[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = static_cast<uint64_t>(c[0]) * 0xD2511F53U;
    const uint64_t b = static_cast<uint64_t>(c[2]) * 0xCD9E8D57U;
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ ka, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ kb, static_cast<uint32_t>(a)};
    ka += 0x9E3779B9U;
    kb += 0xBB67AE85U;
  }
  return c;
}

Random::Random(const Site& site) {
  const Stream s = stream_of(site);
  key_ = {s.key[0], s.key[1]};
  counter_ = {static_cast<uint32_t>(site.position), static_cast<uint32_t>(site.position >> 32), s.high[0],
              s.high[1]};
}

uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = philox(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[used_++];
}

uint64_t Random::bits64() {
  const uint64_t low = bits();
  return low | (static_cast<uint64_t>(bits()) << 32);
}

double Random::uniform() { return static_cast<double>(bits64() >> 11) * 0x1p-53; }

double Random::normal() {
  const double u = 1.0 - uniform();  // (0, 1]
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform());
}

uint64_t Random::below(uint64_t n) {
  MNEME_CHECK(n > 0);
  // Lemire's method: the upper half of a 128-bit product, retried where the lower half would favour some
  // results.
  using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(bits64()) * n;
  if (static_cast<uint64_t>(product) < n) {
    const uint64_t reject = (0 - n) % n;
    while (static_cast<uint64_t>(product) < reject) product = static_cast<Wide>(bits64()) * n;
  }
  return static_cast<uint64_t>(product >> 64);
}

int64_t Random::between(int64_t low, int64_t high) {
  MNEME_CHECK(low <= high);
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;  // 0: all 2^64
  const uint64_t offset = span == 0 ? bits64() : below(span);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

void fill_uniform(const Site& site, float* out, size_t count) {
  const Stream s = stream_of(site);
  const Kernels& k = kernels();
  by_tiles<random_internal::kTileWords>(
      site.position, out, count, [&](uint64_t tile, size_t n, float* to) { k.uniform(s, tile, n, to); });
}

void fill_normal(const Site& site, float* out, size_t count, float mean, float deviation) {
  const Stream s = stream_of(site);
  const Kernels& k = kernels();
  by_tiles<random_internal::kTileWords>(site.position, out, count, [&](uint64_t tile, size_t n, float* to) {
    k.normal(s, tile, n, mean, deviation, to);
  });
}

void fill_bits(const Site& site, uint32_t* out, size_t count) {
  const Stream s = stream_of(site);
  const Kernels& k = kernels();
  by_tiles<random_internal::kTileWords>(
      site.position, out, count, [&](uint64_t tile, size_t n, uint32_t* to) { k.bits(s, tile, n, to); });
}

void fill_keep(const Site& site, double keep, uint8_t* out, size_t count) {
  MNEME_CHECK(keep >= 0 && keep <= 1, std::to_string(keep));
  const Stream s = stream_of(site);
  const Kernels& k = kernels();
  const auto threshold = static_cast<uint32_t>(std::lround(keep * 65536));
  by_tiles<random_internal::kTileMask>(site.position, out, count, [&](uint64_t tile, size_t n, uint8_t* to) {
    k.keep(s, tile, n, threshold, to);
  });
}

}  // namespace mneme
