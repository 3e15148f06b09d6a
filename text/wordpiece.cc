#include "text/wordpiece.h"

#include <utility>
#include <vector>

#include "text/utf8.h"

namespace mneme {

WordPiece::WordPiece(Vocabulary vocabulary, WordPieceOptions options)
    : SubwordModel(std::move(vocabulary)), options_(std::move(options)) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (vocabulary_.contains(id) && !vocabulary_.piece(id)->empty())
      keys.emplace_back(*vocabulary_.piece(id), id);
  }
  trie_ = Trie(std::move(keys));
  if (trie_.empty()) return;
  continuing_ = Trie::root();
  for (const char c : options_.continuing_prefix) {
    continuing_ = trie_.step(continuing_, c);
    if (continuing_ == Trie::kNone) break;
  }
}

bool WordPiece::cover(std::string_view word, std::vector<int32_t>& out) const {
  if (trie_.empty()) return false;
  int32_t from = Trie::root();
  while (!word.empty()) {
    if (from == Trie::kNone) return false;
    const Trie::Match match = trie_.longest_prefix(from, word);
    if (match.value == Trie::kNone) return false;
    out.push_back(match.value);
    word.remove_prefix(match.size);
    from = continuing_;
  }
  return true;
}

void WordPiece::encode(std::string_view word, EncodeScratch&, std::vector<int32_t>& out) const {
  const size_t before = out.size();
  const bool too_long = static_cast<int64_t>(word.size()) > options_.longest_word &&
                        static_cast<int64_t>(count_runes(word)) > options_.longest_word;
  if (!too_long && cover(word, out)) return;
  out.resize(before);
  if (options_.unk >= 0) out.push_back(options_.unk);
}

void WordLevel::encode(std::string_view word, EncodeScratch&, std::vector<int32_t>& out) const {
  const int32_t id = vocabulary_.find(word);
  if (id >= 0 || unk_ >= 0) out.push_back(id >= 0 ? id : unk_);
}

}  // namespace mneme
