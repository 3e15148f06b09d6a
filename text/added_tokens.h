// Added and special tokens: strings that are found in a text before the model sees it, each with flags on
// what must or may stand around it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/trie.h"

namespace mneme {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // only between characters that are no word characters
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;   // is looked for in the normalised text
  bool special = false;      // decoding can leave it out; encoding can read it as plain text
};

// Which tokens a text may name.
enum class SpecialText {
  native,  // as the tokenizer's own library does by default
  parsed,  // all
  plain,   // special ones are ordinary text
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // Their normalised forms come from `normalizer`, which may be null. A later token with the same id or
  // content replaces the earlier.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer);

  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  const std::vector<AddedToken>& all() const { return tokens_; }
  // Cuts the pieces at the tokens that are looked for in the text as it is, or in the normalised text.
  void split_original(PieceList& list, bool special_as_text) const {
    split(list, original_, special_as_text);
  }
  void split_normalized(PieceList& list, bool special_as_text) const {
    split(list, normalized_, special_as_text);
  }

 private:
  struct Matcher {
    std::vector<std::string> keys;
    Trie trie;  // over `keys`; values are indices of tokens_
    std::array<bool, 256> starts = {};
  };
  static void build(Matcher& matcher, std::vector<std::pair<std::string, int32_t>> keys);
  void split(PieceList& list, const Matcher& matcher, bool special_as_text) const;
  void split_piece(std::string_view text, const TextPiece& piece, const Matcher& matcher,
                   bool special_as_text, std::vector<TextPiece>& out) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::map<std::string, size_t, std::less<>> by_content_;
  Matcher original_, normalized_;
};

}  // namespace mneme
