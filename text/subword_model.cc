#include "text/subword_model.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace mneme {

PieceCache::PieceCache() : entries_(static_cast<Entry*>(std::calloc(kEntries, sizeof(Entry)))) {
  if (!entries_) throw std::bad_alloc();
}

void PieceCache::Free::operator()(Entry* entries) const { std::free(entries); }

bool PieceCache::find(std::string_view piece, uint64_t hash, std::vector<int32_t>& out) const {
  const size_t home = hash & (kEntries - 1);
  for (const size_t i : {home, home ^ 1}) {
    const Entry& e = entries_[i];
    if (e.hash != hash || e.piece_size != piece.size()) continue;
    if (std::memcmp(e.piece, piece.data(), piece.size()) != 0) continue;
    out.insert(out.end(), e.ids, e.ids + e.id_count);
    return true;
  }
  return false;
}

void PieceCache::store(std::string_view piece, uint64_t hash, const int32_t* ids, size_t count) {
  if (count > kMostIds) return;
  const size_t home = hash & (kEntries - 1);
  Entry& e = entries_[home];
  entries_[home ^ 1] = e;
  e.hash = hash;
  e.piece_size = static_cast<uint8_t>(piece.size());
  e.id_count = static_cast<uint8_t>(count);
  std::memcpy(e.piece, piece.data(), piece.size());
  std::copy(ids, ids + count, e.ids);
}

}  // namespace mneme
