#include "text/subword_model.h"

#include <algorithm>

namespace mneme {

bool PieceCache::find(std::string_view piece, uint64_t hash, std::vector<int32_t>& out) const {
  const Entry& e = entries_[hash & (kEntries - 1)];
  if (e.hash != hash || e.piece_size != piece.size()) return false;
  if (std::memcmp(e.piece, piece.data(), piece.size()) != 0) return false;
  out.insert(out.end(), e.ids, e.ids + e.id_count);
  return true;
}

void PieceCache::store(std::string_view piece, uint64_t hash, const int32_t* ids, size_t count) {
  if (count > kMostIds) return;
  Entry& e = entries_[hash & (kEntries - 1)];
  e.hash = hash;
  e.piece_size = static_cast<uint8_t>(piece.size());
  e.id_count = static_cast<uint8_t>(count);
  std::memcpy(e.piece, piece.data(), piece.size());
  std::copy(ids, ids + count, e.ids);
}

}  // namespace mneme
