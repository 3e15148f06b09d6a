#include "verify/sha256.h"

#include <fmt/core.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace mneme {
namespace {

// The first 32 bits of the fractional parts of the square and cube roots of the first primes.
struct Constants {
  std::array<uint32_t, 8> first{};
  std::array<uint32_t, 64> round{};
  Constants() {
    size_t n = 0;
    for (uint32_t candidate = 2; n < round.size(); ++candidate) {
      bool prime = true;
      for (uint32_t d = 2; d * d <= candidate; ++d) prime = prime && candidate % d != 0;
      if (!prime) continue;
      const auto bits = [](long double root) {
        return static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
      };
      if (n < first.size()) first[n] = bits(std::sqrt(static_cast<long double>(candidate)));
      round[n++] = bits(std::cbrt(static_cast<long double>(candidate)));
    }
  }
};

void mix(std::array<uint32_t, 8>& state, const unsigned char* block) {
  static const Constants constants;
  std::array<uint32_t, 64> w{};
  for (size_t i = 0; i < 16; ++i) {
    w[i] = uint32_t{block[4 * i]} << 24U | uint32_t{block[4 * i + 1]} << 16U |
           uint32_t{block[4 * i + 2]} << 8U | uint32_t{block[4 * i + 3]};
  }
  const auto turn = [](uint32_t x, int a, int b, int c) {
    return std::rotr(x, a) ^ std::rotr(x, b) ^ std::rotr(x, c);
  };
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t low = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3U,
                   high = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10U;
    w[i] = w[i - 16] + low + w[i - 7] + high;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t one = h + turn(e, 6, 11, 25) + ((e & f) ^ (~e & g)) + constants.round[i] + w[i],
                   two = turn(a, 2, 13, 22) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + one;
    d = c;
    c = b;
    b = a;
    a = one + two;
  }
  const std::array<uint32_t, 8> add = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += add[i];
}

}  // namespace

std::string sha256(std::string_view text) {
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % 64 != 56) padded += '\0';
  const uint64_t bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8)
    padded += static_cast<char>(bits >> static_cast<unsigned>(shift) & 0xFFU);
  std::array<uint32_t, 8> state = Constants().first;
  for (size_t at = 0; at < padded.size(); at += 64)
    mix(state, reinterpret_cast<const unsigned char*>(padded.data()) + at);
  std::string out;
  for (const uint32_t word : state) out += fmt::format("{:08x}", word);
  return out;
}

}  // namespace mneme
