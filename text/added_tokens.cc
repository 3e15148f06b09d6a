#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"
#include "text/utf8.h"

namespace mneme {
namespace {

size_t last_rune(std::string_view text) {  // where it begins
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word_char(decode_valid_rune(text.data() + last_rune(text)).code);
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word_char(decode_valid_rune(text.data()).code);
}

size_t trailing_space(std::string_view text) {  // where it begins
  size_t end = text.size();
  while (end > 0) {
    const size_t at = last_rune(text.substr(0, end));
    if (!is_white_space(decode_valid_rune(text.data() + at).code)) break;
    end = at;
  }
  return end;
}

size_t leading_space(std::string_view text) {
  size_t n = 0;
  while (n < text.size()) {
    const Rune r = decode_valid_rune(text.data() + n);
    if (!is_white_space(r.code)) break;
    n += r.size;
  }
  return n;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer) {
  for (AddedToken& t : tokens) {
    if (t.content.empty()) continue;
    if (const auto it = by_content_.find(t.content); it != by_content_.end()) {
      by_id_.erase(tokens_[it->second].id);
      by_id_[t.id] = it->second;
      tokens_[it->second] = std::move(t);
      continue;
    }
    by_id_[t.id] = tokens_.size();
    by_content_[t.content] = tokens_.size();
    tokens_.push_back(std::move(t));
  }
  std::vector<std::pair<std::string, int32_t>> original, normalized;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const auto index = static_cast<int32_t>(i);
    if (!tokens_[i].normalized) {
      original.emplace_back(tokens_[i].content, index);
      continue;
    }
    std::string form = tokens_[i].content;
    bool unused = false;
    if (normalizer) normalizer->apply(form, unused);
    if (!form.empty()) normalized.emplace_back(std::move(form), index);
  }
  build(original_, std::move(original));
  build(normalized_, std::move(normalized));
}

void AddedTokens::build(Matcher& matcher, std::vector<std::pair<std::string, int32_t>> keys) {
  std::vector<std::pair<std::string_view, int32_t>> views;
  for (const auto& [key, index] : keys) {
    views.emplace_back(key, index);
    matcher.starts[static_cast<unsigned char>(key[0])] = true;
  }
  matcher.trie = Trie(std::move(views));
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

void AddedTokens::split(PieceList& list, const Matcher& matcher, bool special_as_text) const {
  if (matcher.trie.empty()) return;
  std::vector<TextPiece> out;
  out.reserve(list.pieces.size() + 1);
  for (const TextPiece& p : list.pieces) {
    if (p.id >= 0) {
      out.push_back(p);
    } else {
      split_piece(list.view(p), p, matcher, special_as_text, out);
    }
  }
  list.pieces = std::move(out);
}

void AddedTokens::split_piece(std::string_view text, const TextPiece& piece, const Matcher& matcher,
                              bool special_as_text, std::vector<TextPiece>& out) const {
  const auto emit = [&](size_t begin, size_t end, int32_t id) {
    if (begin == end) return;
    out.push_back({piece.begin + static_cast<uint32_t>(begin), piece.begin + static_cast<uint32_t>(end), id,
                   piece.at_start && begin == 0});
  };
  size_t done = 0;  // everything before it is emitted
  for (size_t i = 0; i < text.size();) {
    if (!matcher.starts[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    const Trie::Match match = matcher.trie.longest_prefix(text.substr(i));
    if (match.value == Trie::kNone) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[match.value];
    size_t begin = i, end = i + match.size;
    i = end;  // also when the match is rejected
    if (special_as_text && token.special) continue;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) begin = std::max(done, trailing_space(text.substr(0, begin)));
    if (token.rstrip) end += leading_space(text.substr(end));
    if (done < begin) emit(done, begin, -1);
    // White space that the token before has taken may be a token too: it is then counted twice, as in the
    // reference.
    emit(begin, end, token.id);
    done = end;
  }
  if (done < text.size()) emit(done, text.size(), -1);
}

}  // namespace mneme
