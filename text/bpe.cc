#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <functional>
#include <utility>

#include "base/error.h"
#include "text/byte_glyphs.h"
#include "text/utf8.h"

namespace mneme {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr size_t kShortWord = 64;                   // symbols; below, a scan beats a heap

std::string byte_piece(int byte) {
  char out[8];
  std::snprintf(out, sizeof(out), "<0x%02X>", static_cast<unsigned>(byte));
  return out;
}

}  // namespace

void MergeTable::reserve(size_t merges) {
  MNEME_CHECK(count_ == 0);
  slots_.assign(std::bit_ceil(merges + merges / 3 + 2), Slot());
  mask_ = slots_.size() - 1;
}

void MergeTable::add(int32_t left, int32_t right, Merge merge) {
  if (count_ + 1 + count_ / 3 > slots_.size()) {
    const std::vector<Slot> old = std::move(slots_);
    slots_.assign(std::max<size_t>(16, old.size() * 2), Slot());
    mask_ = slots_.size() - 1;
    for (const Slot& s : old) {
      if (s.key == kFree) continue;
      size_t i = home(s.key);
      while (slots_[i].key != kFree) i = (i + 1) & mask_;
      slots_[i] = s;
    }
  }
  const uint64_t key = key_of(left, right);
  size_t i = home(key);
  while (slots_[i].key != kFree && slots_[i].key != key) i = (i + 1) & mask_;
  count_ += slots_[i].key == kFree;
  slots_[i] = {key, merge};
}

bool MergeList::add(std::string_view left, std::string_view right, size_t prefix) {
  const int32_t a = vocabulary_.find(left), b = vocabulary_.find(right);
  merged_.assign(left).append(right, prefix);
  // Ids mostly follow ranks, so the piece is mostly the last one or the next: no search then.
  int32_t c = -1;
  for (const int32_t guess : {last_, last_ + 1}) {
    if (vocabulary_.piece(guess) == std::string_view(merged_)) c = guess;
  }
  if (c < 0) c = vocabulary_.find(merged_);
  if (a < 0 || b < 0 || c < 0) return false;
  entries_.push_back({a, b, c});
  last_ = c;
  return true;
}

MergeTable MergeList::build() && {
  MergeTable out;
  out.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (i + 16 < entries_.size()) out.prefetch(entries_[i + 16].left, entries_[i + 16].right);
    out.add(entries_[i].left, entries_[i].right, {static_cast<uint32_t>(i), entries_[i].merged});
  }
  return out;
}

Bpe::Bpe(Vocabulary vocabulary, MergeTable merges, BpeOptions options,
         std::vector<std::pair<std::string, int32_t>> loose_characters)
    : SubwordModel(std::move(vocabulary)), merges_(std::move(merges)), options_(std::move(options)) {
  byte_ids_.fill(-1);
  has_byte_pieces_ = true;
  for (int b = 0; b < 256; ++b) {
    byte_ids_[b] = options_.bytes ? vocabulary_.find(glyph_of_byte(static_cast<uint8_t>(b)))
                                  : vocabulary_.find(byte_piece(b));
    has_byte_pieces_ = has_byte_pieces_ && byte_ids_[b] >= 0;
  }
  for (int c = 0; c < 128; ++c) {
    const char text = static_cast<char>(c);
    ascii_ids_[c] = vocabulary_.find({&text, 1});
  }
  for (const auto& [text, id] : loose_characters) loose_.add(id, text);
  for (int32_t id = 0; options_.whole_pieces && id < vocabulary_.size(); ++id) {
    if (vocabulary_.contains(id)) longest_piece_ = std::max(longest_piece_, vocabulary_.piece(id)->size());
  }
  if (!options_.unused.empty()) {
    is_unused_.resize(static_cast<size_t>(vocabulary_.size()));
    for (const int32_t id : options_.unused) is_unused_[id] = true;
  }
  find_joints();
}

uint32_t Bpe::class_of(std::string_view text, size_t at, size_t& size) const {
  const auto lead = static_cast<unsigned char>(text[at]);
  size = options_.bytes ? 1 : rune_size(text[at]);
  if (options_.bytes || lead < 0x80) return lead;
  return text.substr(at, size) == kMark ? kMarkClass : kOtherClass;
}

// No merge crosses two characters that are neighbours in no piece, so a text may be cut between them without
// changing its ids: long texts become words that the cache knows. Not where a whole word may be a piece that
// merging does not reach, where the edges of words matter, or where bytes vanish and others become
// neighbours.
void Bpe::find_joints() {
  const bool edges = !options_.continuing_prefix.empty() || !options_.word_suffix.empty();
  const bool lacks_bytes = options_.bytes && !has_byte_pieces_;
  const bool odd_fallback = !options_.bytes && options_.byte_fallback && !has_byte_pieces_;
  if (options_.whole_pieces || edges || lacks_bytes || odd_fallback) return;
  joints_.assign(size_t{kClasses} * kClasses, 0);
  std::string raw;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!vocabulary_.contains(id)) continue;
    std::string_view piece = *vocabulary_.piece(id);
    raw.clear();
    if (options_.bytes) {
      if (!glyphs_to_bytes(piece, raw)) continue;
      piece = raw;
    }
    uint32_t previous = kClasses;
    for (size_t at = 0, size = 0; at < piece.size(); at += size) {
      const uint32_t next = class_of(piece, at, size);
      if (previous != kClasses) joints_[previous * kClasses + next] = 1;
      previous = next;
    }
  }
  if (options_.bytes || (options_.byte_fallback && has_byte_pieces_)) return;
  // Two unknown characters must not be parted: they may become one token. And one that vanishes makes
  // neighbours of the two around it.
  const bool vanishes = options_.unk < 0 && !options_.late_unknown;
  const auto unknown = [this](uint32_t c) {
    return c == kOtherClass || (c == kMarkClass ? vocabulary_.find(kMark) : c < 128 ? ascii_ids_[c] : -1) < 0;
  };
  for (uint32_t a = 0; a < kClasses; ++a) {
    for (uint32_t b = 0; b < kClasses; ++b) {
      const bool risky = vanishes ? unknown(a) || unknown(b) : unknown(a) && unknown(b);
      if (risky) joints_[a * kClasses + b] = 1;
    }
  }
}

void Bpe::encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (joints_.empty() || piece.size() <= PieceCache::kLongestPiece) return encode_word(piece, scratch, out);
  size_t begin = 0, size = 0;
  uint32_t previous = class_of(piece, 0, size);
  for (size_t at = size; at < piece.size(); at += size) {
    const uint32_t next = class_of(piece, at, size);
    if (!joined(previous, next)) {
      encode_word(piece.substr(begin, at - begin), scratch, out);
      begin = at;
    }
    previous = next;
  }
  encode_word(piece.substr(begin), scratch, out);
}

void Bpe::encode_word(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() > PieceCache::kLongestPiece) return encode_uncached(word, scratch, out);
  const uint64_t hash = hash_bytes(word.data(), word.size());
  if (scratch.cache.find(word, hash, out)) return;
  const size_t before = out.size();
  encode_uncached(word, scratch, out);
  scratch.cache.store(word, hash, out.data() + before, out.size() - before);
}

void Bpe::encode_uncached(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.empty()) return;
  if (word.size() >= UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
  if (options_.whole_pieces) {
    if (const int32_t whole = whole_piece(word); whole >= 0) {
      out.push_back(whole);
      return;
    }
  }
  scratch.symbols.clear();
  scratch.splits.clear();
  if (options_.bytes) {
    start_bytes(word, scratch);
  } else if (options_.late_unknown) {
    start_late(word, scratch);
  } else {
    start_characters(word, scratch);
  }
  if (scratch.symbols.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  if (options_.late_unknown) return emit_late(word, scratch, out);
  for (const MergeSymbol& s : scratch.symbols) out.push_back(s.id);
}

int32_t Bpe::whole_piece(std::string_view word) const {
  if (word.size() > longest_piece_) return -1;
  return vocabulary_.find(options_.bytes ? bytes_to_glyphs(word) : std::string(word));
}

void Bpe::start_bytes(std::string_view word, EncodeScratch& scratch) const {
  for (const char c : word) {
    // A byte without a piece vanishes, and its neighbours become neighbours.
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id >= 0) scratch.symbols.push_back({id});
  }
}

int32_t Bpe::character(std::string_view c) const {
  return c.size() == 1 && static_cast<unsigned char>(c[0]) < 128
             ? ascii_ids_[static_cast<unsigned char>(c[0])]
             : vocabulary_.find(c);
}

void Bpe::start_characters(std::string_view word, EncodeScratch& scratch) const {
  bool pending_unk = false;
  const auto flush = [&] {
    if (pending_unk) scratch.symbols.push_back({options_.unk});
    pending_unk = false;
  };
  const bool edges = !options_.continuing_prefix.empty() || !options_.word_suffix.empty();
  std::string spelled;
  for (size_t i = 0; i < word.size();) {
    const uint32_t size = rune_size(word[i]);
    std::string_view c = word.substr(i, size);
    if (edges) {
      spelled.assign(i > 0 ? options_.continuing_prefix : "").append(c);
      if (i + size >= word.size()) spelled += options_.word_suffix;
      c = spelled;
    }
    i += size;
    if (const int32_t id = character(c); id >= 0) {
      flush();
      scratch.symbols.push_back({id});
      continue;
    }
    const auto known = [&](char b) { return byte_ids_[static_cast<unsigned char>(b)] >= 0; };
    if (options_.byte_fallback && std::all_of(c.begin(), c.end(), known)) {
      // Like the reference, an unknown character before these bytes is written after them.
      for (const char b : c) scratch.symbols.push_back({byte_ids_[static_cast<unsigned char>(b)]});
      continue;
    }
    if (options_.unk < 0) continue;
    if (!options_.fuse_unk) flush();
    pending_unk = true;
  }
  flush();
}

void Bpe::start_late(std::string_view word, EncodeScratch& scratch) const {
  for (uint32_t i = 0; i < word.size();) {
    const std::string_view c = word.substr(i, rune_size(word[i]));
    int32_t id = character(c);
    if (id < 0) id = loose_.find(c);
    scratch.symbols.push_back({id, i});
    i += static_cast<uint32_t>(c.size());
  }
}

void Bpe::note_split(EncodeScratch& scratch, int32_t merged, int32_t left, int32_t right) const {
  if (is_unused_.empty() || !is_unused_[merged]) return;
  for (auto& s : scratch.splits) {
    if (s[0] == merged) {
      s = {merged, left, right};
      return;
    }
  }
  scratch.splits.push_back({merged, left, right});
}

void Bpe::merge_short(EncodeScratch& scratch) const {
  // Columns, so that the search for the least rank runs over neighbouring words.
  std::array<int32_t, kShortWord> id, merged;
  std::array<uint32_t, kShortWord> rank, begin;
  size_t n = scratch.symbols.size();
  for (size_t i = 0; i < n; ++i) {
    id[i] = scratch.symbols[i].id;
    begin[i] = scratch.symbols[i].begin;
  }
  const auto rate = [&](size_t i) {
    const MergeTable::Merge m = i + 1 < n ? merges_.find(id[i], id[i + 1]) : MergeTable::Merge();
    rank[i] = m.rank;
    merged[i] = m.id;
  };
  for (size_t i = 0; i < n; ++i) rate(i);
  const auto close_gap = [&](auto& column, size_t at) {
    std::copy(column.begin() + at + 1, column.begin() + n, column.begin() + at);
  };
  while (n > 1) {
    const auto best = static_cast<size_t>(std::min_element(rank.begin(), rank.begin() + n) - rank.begin());
    if (rank[best] == MergeTable::kNoRank) break;
    note_split(scratch, merged[best], id[best], id[best + 1]);
    id[best] = merged[best];
    close_gap(id, best + 1);
    close_gap(merged, best + 1);
    close_gap(rank, best + 1);
    close_gap(begin, best + 1);
    --n;
    rate(best);
    if (best > 0) rate(best - 1);
  }
  scratch.symbols.resize(n);
  for (size_t i = 0; i < n; ++i) {
    scratch.symbols[i].id = id[i];
    scratch.symbols[i].begin = begin[i];
  }
}

void Bpe::merge_long(EncodeScratch& scratch) const {
  std::vector<MergeSymbol>& s = scratch.symbols;
  std::vector<HeapEntry>& heap = scratch.heap;
  const auto count = static_cast<uint32_t>(s.size());
  heap.clear();
  const auto rate = [&](uint32_t i) {
    const MergeTable::Merge m =
        s[i].next < count ? merges_.find(s[i].id, s[s[i].next].id) : MergeTable::Merge();
    s[i].rank = m.rank;
    s[i].merged = m.id;
    return m.rank != MergeTable::kNoRank;
  };
  const auto order = [&](uint32_t i) { return HeapEntry{static_cast<uint64_t>(s[i].rank) << 32 | i}; };
  for (uint32_t i = 0; i < count; ++i) {
    s[i].previous = i - 1;  // of the first: past the end
    s[i].next = i + 1;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (rate(i)) heap.push_back(order(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](uint32_t i) {
    if (!rate(i)) return;
    heap.push_back(order(i));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front().order;
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const auto i = static_cast<uint32_t>(top);
    // An entry whose pair has changed since carries another rank; a symbol that was merged away has none.
    if (s[i].rank != static_cast<uint32_t>(top >> 32)) continue;
    const uint32_t right = s[i].next;
    note_split(scratch, s[i].merged, s[i].id, s[right].id);
    s[i].id = s[i].merged;
    s[i].next = s[right].next;
    s[right].rank = MergeTable::kNoRank;
    if (s[i].next < count) s[s[i].next].previous = i;
    push(i);
    if (s[i].previous < count) push(s[i].previous);
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count;) {
    const uint32_t next = s[i].next;
    s[kept++] = s[i];
    i = next;
  }
  s.resize(kept);
}

void Bpe::emit_undone(int32_t id, const EncodeScratch& scratch, int depth, std::vector<int32_t>& out) const {
  if (!is_unused_.empty() && id < vocabulary_.size() && is_unused_[id] && depth < 100) {
    for (const auto& s : scratch.splits) {
      if (s[0] != id) continue;
      emit_undone(s[1], scratch, depth + 1, out);
      emit_undone(s[2], scratch, depth + 1, out);
      return;
    }
  }
  out.push_back(id < vocabulary_.size() ? id : options_.unk);
}

void Bpe::emit_late(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  const std::vector<MergeSymbol>& s = scratch.symbols;
  bool in_unknown = false;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i].id >= 0 && s[i].id < vocabulary_.size()) {
      emit_undone(s[i].id, scratch, 0, out);
      in_unknown = false;
      continue;
    }
    const size_t end = i + 1 < s.size() ? s[i + 1].begin : word.size();
    if (options_.byte_fallback && has_byte_pieces_) {
      for (size_t b = s[i].begin; b < end; ++b) out.push_back(byte_ids_[static_cast<unsigned char>(word[b])]);
    } else if (options_.unk >= 0 && !(in_unknown && options_.fuse_unk)) {
      out.push_back(options_.unk);
    }
    in_unknown = true;
  }
}

}  // namespace mneme
