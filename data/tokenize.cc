#include "data/tokenize.h"

#include <algorithm>

namespace mneme {
namespace {

// The byte at which each token ends, if the pieces put together are the text itself.
std::vector<size_t> token_ends(const std::string& text, const std::vector<int32_t>& ids,
                               const Tokenizer& tokenizer) {
  StreamDecoder stream = tokenizer.stream(false);
  std::vector<size_t> ends;
  std::string decoded;
  ends.reserve(ids.size());
  for (const int32_t id : ids) {
    decoded += stream.push(id);
    ends.push_back(decoded.size());
  }
  decoded += stream.finish();
  if (decoded != text) ends.clear();
  return ends;
}

void mark_by_bytes(const std::vector<size_t>& ends, const std::vector<ByteRange>& ranges,
                   std::vector<uint8_t>& trained) {
  size_t range = 0, begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    // Bytes held back by the decoder belong to the token that completes them, so a token may seem to have
    // none; it goes with those that follow.
    const size_t end = std::max(ends[i], begin + (ends[i] == begin ? 1 : 0));
    while (range < ranges.size() && ranges[range].end <= begin) ++range;
    trained[i] = range < ranges.size() && ranges[range].begin < end && begin < ranges[range].end;
    begin = ends[i];
  }
}

size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(std::min(a.size(), b.size())), b.begin())
          .first -
      a.begin());
}

void mark_by_prefixes(const Document& document, const std::vector<int32_t>& ids, const Tokenizer& tokenizer,
                      SpecialText special, std::vector<uint8_t>& trained) {
  const std::string_view text = document.text;
  for (const ByteRange& range : document.trained) {
    const size_t begin = common_prefix(tokenizer.encode(text.substr(0, range.begin), false, special), ids);
    const auto upto = tokenizer.encode(text.substr(0, range.end), false, special);
    size_t end = common_prefix(upto, ids);
    if (end < upto.size()) ++end;  // a token that crosses the border
    for (size_t i = begin; i < std::min(end, ids.size()); ++i) trained[i] = 1;
  }
}

// Where `part` stands in `whole`: what the tokenizer adds comes before and after.
size_t position_of(const std::vector<int32_t>& part, const std::vector<int32_t>& whole) {
  const auto found = std::search(whole.begin(), whole.end(), part.begin(), part.end());
  return found == whole.end() ? 0 : static_cast<size_t>(found - whole.begin());
}

}  // namespace

TokenizedDocument tokenize_document(const Document& document, const Tokenizer& tokenizer,
                                    const TokenizeOptions& options) {
  TokenizedDocument made;
  if (!document.ids.empty()) {
    made.ids = document.ids;
    made.trained = document.counts;
    return made;
  }
  const SpecialText special =
      options.plain && document.add_special ? SpecialText::plain : SpecialText::native;
  const bool wants_special = options.special && document.add_special;
  made.ids = tokenizer.encode(document.text, wants_special, special);
  if (document.masked) {
    const std::vector<int32_t> body =
        wants_special ? tokenizer.encode(document.text, false, special) : made.ids;
    std::vector<uint8_t> marks(body.size(), 0);
    if (const auto ends = token_ends(document.text, body, tokenizer); !ends.empty()) {
      mark_by_bytes(ends, document.trained, marks);
    } else {
      mark_by_prefixes(document, body, tokenizer, special, marks);
    }
    made.trained.assign(made.ids.size(), 0);
    const size_t at = wants_special ? position_of(body, made.ids) : 0;
    std::copy(marks.begin(),
              marks.begin() + static_cast<ptrdiff_t>(std::min(marks.size(), made.ids.size() - at)),
              made.trained.begin() + static_cast<ptrdiff_t>(at));
  }
  const int32_t end = tokenizer.special().eos;
  if (options.end && document.add_end && end >= 0) {
    const bool there = !made.ids.empty() && made.ids.back() == end;
    if (!there) made.ids.push_back(end);
    if (document.masked) {
      made.trained.resize(made.ids.size());
      made.trained.back() = 1;  // an answer is learnt with its end
    }
  }
  return made;
}

}  // namespace mneme
