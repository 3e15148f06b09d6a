// Pieces and their ids: one arena of bytes, one open-addressing index. Ids may have gaps. It knows nothing of
// merges, scores or special tokens.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

// A quick hash for short keys. Not for fingerprints: it may change between versions.
inline uint64_t hash_bytes(const char* p, size_t n) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;
  uint64_t h = n * kOdd;
  const auto mix = [&h](uint64_t word) {
    h = (h ^ word) * kOdd;
    h ^= h >> 29;
  };
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    mix(word);
  }
  uint64_t tail = 0;
  for (size_t i = 0; i < n; ++i) tail |= static_cast<uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  mix(tail);
  return h ^ h >> 32;
}

class Vocabulary {
 public:
  // More ids than any model has; a guard against files that name one absurd id.
  static constexpr int32_t kMostIds = 1 << 22;

  void reserve(size_t pieces, size_t bytes);
  // The id must be new. A piece that is known already keeps its text under both ids and resolves to the
  // later.
  void add(int32_t id, std::string_view piece);
  int32_t size() const { return static_cast<int32_t>(spans_.size()); }  // one past the highest id
  int64_t count() const { return count_; }
  bool contains(int32_t id) const { return id >= 0 && id < size() && spans_[id].size != kAbsent; }
  std::optional<std::string_view> piece(int32_t id) const {
    if (!contains(id)) return std::nullopt;
    return view(id);
  }
  int32_t find(std::string_view piece) const;  // -1 when absent

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  struct Span {
    uint64_t begin = 0;
    uint32_t size = kAbsent;
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };
  std::string_view view(int32_t id) const { return {arena_.data() + spans_[id].begin, spans_[id].size}; }
  void rehash(size_t slots);
  Slot& slot_for(std::string_view piece, uint32_t hash);

  std::string arena_;
  std::vector<Span> spans_;
  std::vector<Slot> slots_;
  int64_t count_ = 0;
};

}  // namespace mneme
