#include "text/spm_normalizer.h"

#include <utility>

#include "text/utf8.h"

namespace mneme {

SpmNormalizer::SpmNormalizer(SpmNormalizerOptions options) : options_(std::move(options)) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (const std::string& piece : options_.user_defined) {
    if (!piece.empty()) keys.emplace_back(piece, 0);
  }
  user_defined_ = Trie(std::move(keys));
}

SpmNormalizer::Step SpmNormalizer::step(std::string_view rest) const {
  if (const auto match = user_defined_.longest_prefix(rest); match.size != 0) {
    return {match.size, rest.substr(0, match.size)};
  }
  if (const auto match = options_.charsmap.longest_prefix(rest); match.size != 0) {
    return {match.size, match.replacement};
  }
  const size_t size = rune_size(rest[0]);
  return {size, rest.substr(0, size)};
}

void SpmNormalizer::apply(std::string& text, bool& front_lost) const {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  const std::string_view space = options_.escape_spaces ? kMark : " ";
  std::string_view rest = text;
  if (options_.remove_extra_spaces) {
    while (!rest.empty()) {
      const Step s = step(rest);
      if (s.text != " ") break;
      rest.remove_prefix(s.consumed);
      front_lost = true;
    }
  }
  std::string out;
  if (rest.empty()) {
    text.clear();
    return;
  }
  out.reserve(rest.size() + rest.size() / 2 + 8);
  if (options_.add_dummy_prefix && !options_.spaces_are_suffixes) out += space;
  bool after_space = options_.remove_extra_spaces;
  while (!rest.empty()) {
    const Step s = step(rest);
    std::string_view piece = s.text;
    while (after_space && piece.starts_with(' ')) piece.remove_prefix(1);
    if (!piece.empty()) {
      for (const char c : piece) {
        if (c == ' ') {
          out += space;
        } else {
          out += c;
        }
      }
      after_space = piece.ends_with(' ');
    }
    rest.remove_prefix(s.consumed);
    if (!options_.remove_extra_spaces) after_space = false;
  }
  if (options_.remove_extra_spaces) {
    while (out.ends_with(space)) out.resize(out.size() - space.size());
  }
  if (options_.add_dummy_prefix && options_.spaces_are_suffixes) out += space;
  text = std::move(out);
}

}  // namespace mneme
