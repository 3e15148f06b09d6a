#include "text/unigram.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {

namespace {

constexpr double kUnknownPenalty = 10.0;

}  // namespace

Unigram::Unigram(Vocabulary vocabulary, UnigramOptions options, const std::string& where)
    : SubwordModel(std::move(vocabulary)), options_(std::move(options)) {
  options_.scores.resize(static_cast<size_t>(vocabulary_.size()));
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (const int32_t id : options_.matched) {
    if (!vocabulary_.piece(id)->empty()) keys.emplace_back(*vocabulary_.piece(id), id);
  }
  trie_ = Trie(std::move(keys));
  double lowest = std::numeric_limits<double>::infinity();
  highest_score_ = -lowest;
  for (const int32_t id : options_.normal) {
    lowest = std::min(lowest, options_.scores[id]);
    highest_score_ = std::max(highest_score_, options_.scores[id]);
  }
  if (options_.normal.empty()) lowest = highest_score_ = 0;
  unknown_score_ = options_.flavor == UnigramFlavor::sentencepiece
                       ? static_cast<float>(lowest) - static_cast<float>(kUnknownPenalty)
                       : lowest - kUnknownPenalty;
  is_user_defined_.resize(options_.scores.size());
  for (const int32_t id : options_.user_defined) is_user_defined_[id] = true;
  if (options_.byte_fallback) {
    for (unsigned b = 0; b < 256; ++b) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", b);
      byte_ids_.push_back(vocabulary_.find(name));
    }
    if (options_.flavor == UnigramFlavor::sentencepiece && std::ranges::count(byte_ids_, -1) != 0) {
      throw Error(Kind::input, where + ": byte fallback without all 256 byte pieces");
    }
  }
}

void Unigram::reach(BestPath& node, double score, int32_t id, uint32_t from) const {
  if (node.begin != UINT32_MAX && !(score > node.score)) return;
  node.score = options_.flavor == UnigramFlavor::sentencepiece ? static_cast<float>(score) : score;
  node.id = id;
  node.begin = from;
}

void Unigram::find_paths(std::string_view piece, std::vector<BestPath>& paths) const {
  const auto size = static_cast<uint32_t>(piece.size());
  paths.assign(size + size_t{1}, BestPath());
  for (uint32_t at = 0; at < size;) {
    const double so_far = paths[at].score;
    const uint32_t character = rune_size(piece[at]);
    bool single = false;
    int32_t node = trie_.empty() ? Trie::kNone : Trie::root();
    for (uint32_t end = at; node != Trie::kNone && end < size;) {
      node = trie_.step(node, piece[end++]);
      if (node == Trie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id == Trie::kNone) continue;
      // User-defined pieces exist in SentencePiece only, which multiplies in single precision.
      const double score = is_user_defined_[id]
                               ? static_cast<float>(end - at) * static_cast<float>(highest_score_) - 0.1
                               : options_.scores[id];
      reach(paths[end], score + so_far, id, at);
      single = single || end - at == character;
    }
    if (!single) {
      const double score = unknown_score_ + so_far;
      const bool narrow = options_.flavor == UnigramFlavor::sentencepiece;
      reach(paths[at + character], narrow ? static_cast<float>(score) : score, options_.unk, at);
    }
    at += character;
  }
}

void Unigram::emit_unknown(std::string_view text, std::vector<int32_t>& out) const {
  if (options_.flavor == UnigramFlavor::hugging_face) {
    // The fused text is looked up once more, as the reference does.
    if (const int32_t id = vocabulary_.find(text); id >= 0) {
      out.push_back(id);
      return;
    }
  }
  const auto known = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)] >= 0; };
  if (!byte_ids_.empty() && std::all_of(text.begin(), text.end(), known)) {
    for (const char c : text) out.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  } else if (options_.unk >= 0) {
    out.push_back(options_.unk);
  } else {
    throw Error(Kind::input, "the text '" + std::string(text.substr(0, 40)) +
                                 "' has a character that the tokenizer lacks, and it has no unknown token");
  }
}

void Unigram::encode_uncached(std::string_view piece, EncodeScratch& scratch,
                              std::vector<int32_t>& out) const {
  if (piece.empty()) return;
  if (piece.size() >= UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
  find_paths(piece, scratch.paths);
  std::vector<BestPath>& paths = scratch.paths;
  // Backwards, then reversed; `paths` of the chosen pieces are moved to the end of the list in order.
  size_t front = paths.size();
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0;) {
    const BestPath path = paths[end];
    const uint32_t from = path.begin;
    paths[--front] = {static_cast<double>(end), path.id, from};
    end = from;
  }
  for (size_t i = front; i < paths.size(); ++i) {
    if (paths[i].id != options_.unk) {
      out.push_back(paths[i].id);
      continue;
    }
    const uint32_t begin = paths[i].begin;
    while (i + 1 < paths.size() && paths[i + 1].id == options_.unk) ++i;
    const auto end = static_cast<uint32_t>(paths[i].score);
    emit_unknown(piece.substr(begin, end - begin), out);
  }
}

void Unigram::encode(std::string_view piece, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (!options_.cached || piece.size() > PieceCache::kLongestPiece)
    return encode_uncached(piece, scratch, out);
  const uint64_t hash = hash_bytes(piece.data(), piece.size());
  if (scratch.cache.find(piece, hash, out)) return;
  const size_t before = out.size();
  encode_uncached(piece, scratch, out);
  scratch.cache.store(piece, hash, out.data() + before, out.size() - before);
}

}  // namespace mneme
