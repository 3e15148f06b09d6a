#include "text/piece_splits.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "text/trie.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace mneme {
namespace {

constexpr size_t kLongestPiece = 1024;

// Piece -> id with equal pieces resolved to the last, over any ids.
class Lookup {
 public:
  explicit Lookup(const PieceIds& pieces) : ids_(pieces.size()) {
    size_t bytes = 0;
    for (const auto& [text, id] : pieces) bytes += text.size();
    index_.reserve(pieces.size(), bytes);
    for (size_t i = 0; i < pieces.size(); ++i) {
      index_.add(static_cast<int32_t>(i), pieces[i].first);
      ids_[i] = pieces[i].second;
    }
  }
  int32_t find(std::string_view text) const {
    const int32_t i = index_.find(text);
    return i < 0 ? -1 : ids_[i];
  }

 private:
  Vocabulary index_;
  std::vector<int32_t> ids_;
};

}  // namespace

void for_each_split(const PieceIds& halves, const PieceIds& wholes,
                    const std::function<void(int32_t, int32_t, int32_t)>& found) {
  const Lookup lookup(halves);
  const Trie prefixes(halves);
  if (prefixes.empty()) return;
  for (const auto& [text, whole] : wholes) {
    // Halving costs the square of the length; real pieces are far shorter.
    if (text.size() > kLongestPiece) {
      throw Error(Kind::input, "a vocabulary with a piece of " + std::to_string(text.size()) +
                                   " bytes; at most " + std::to_string(kLongestPiece) + " are expected");
    }
    int32_t node = Trie::root();
    for (size_t i = 0; i + 1 < text.size();) {
      node = prefixes.step(node, text[i++]);
      if (node == Trie::kNone) break;
      const int32_t left = prefixes.value(node);
      if (left == Trie::kNone) continue;
      const int32_t right = lookup.find(text.substr(i));
      if (right >= 0) found(left, right, whole);
    }
  }
}

std::vector<std::pair<std::string, int32_t>> loose_characters(const PieceIds& pieces, int32_t first_id) {
  const Lookup lookup(pieces);
  std::set<std::string_view> loose;
  for (const auto& [text, id] : pieces) {
    for (size_t i = 0; i < text.size();) {
      const std::string_view c = text.substr(i, rune_size(text[i]));
      i += c.size();
      if (lookup.find(c) < 0) loose.insert(c);
    }
  }
  std::vector<std::pair<std::string, int32_t>> out;
  for (const std::string_view c : loose) out.emplace_back(c, first_id++);
  return out;
}

}  // namespace mneme
