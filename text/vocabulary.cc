#include "text/vocabulary.h"

#include <bit>

#include "base/error.h"

namespace mneme {

void Vocabulary::reserve(size_t pieces, size_t bytes) {
  spans_.reserve(pieces);
  arena_.reserve(bytes);
  rehash(std::bit_ceil(pieces * 2 + 16));
}

void Vocabulary::rehash(size_t slots) {
  slots_.assign(slots, Slot());
  for (int32_t id = 0; id < size(); ++id) {
    if (!contains(id)) continue;
    const auto hash = static_cast<uint32_t>(hash_bytes(view(id).data(), view(id).size()));
    slot_for(view(id), hash) = {hash, id};
  }
}

Vocabulary::Slot& Vocabulary::slot_for(std::string_view piece, uint32_t hash) {
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  while (slots_[i].id >= 0 && !(slots_[i].hash == hash && view(slots_[i].id) == piece)) i = (i + 1) & mask;
  return slots_[i];
}

void Vocabulary::add(int32_t id, std::string_view piece) {
  if (id < 0 || id >= kMostIds) {
    throw Error(Kind::input, "a vocabulary with the id " + std::to_string(id) + "; ids go from 0 to " +
                                 std::to_string(kMostIds - 1));
  }
  if (contains(id)) throw Error(Kind::input, "a vocabulary with two pieces of id " + std::to_string(id));
  if (piece.size() >= kAbsent) throw Error(Kind::input, "a vocabulary with a piece of 4 GB");
  if (static_cast<size_t>(count_ + 1) * 2 > slots_.size()) rehash(std::bit_ceil(slots_.size() * 2 + 16));
  if (id >= size()) spans_.resize(static_cast<size_t>(id) + 1);
  spans_[id] = {arena_.size(), static_cast<uint32_t>(piece.size())};
  arena_ += piece;
  ++count_;
  const auto hash = static_cast<uint32_t>(hash_bytes(piece.data(), piece.size()));
  slot_for(view(id), hash) = {hash, id};
}

int32_t Vocabulary::find(std::string_view piece) const {
  if (slots_.empty()) return -1;
  const auto hash = static_cast<uint32_t>(hash_bytes(piece.data(), piece.size()));
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask) {
    if (slots_[i].hash == hash && view(slots_[i].id) == piece) return slots_[i].id;
  }
  return -1;
}

}  // namespace mneme
