// Lines of a width, by the rules of Python's textwrap.
#include <algorithm>

#include "text/jinja_strings.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

using Points = std::vector<uint32_t>;

// A hyphen within a word, where a line may end: two letters or more on both sides.
bool may_break(const Points& word, size_t at) {
  auto letter = [&](size_t i) { return is_word(word[i]) && !is_digit(word[i]); };
  if (word[at] != '-' || at < 2 || !letter(at - 1) || !is_word(word[at - 2])) return false;
  size_t i = at + 1;
  while (i < word.size() && is_word(word[i]) && (i < at + 2 || !letter(i))) ++i;
  return i > at + 1 && i < word.size() && letter(i);
}

std::vector<Points> words_of(const std::string& text, bool hyphens) {
  std::vector<Points> runs, words;
  for (uint32_t point : points_of(text)) {
    if (runs.empty() || is_space(runs.back().back()) != is_space(point)) runs.emplace_back();
    runs.back().push_back(point);
  }
  for (const Points& run : runs) {
    words.emplace_back();
    for (size_t i = 0; i < run.size(); ++i) {
      words.back().push_back(run[i]);
      if (hyphens && may_break(run, i)) words.emplace_back();
    }
  }
  return words;
}

}  // namespace

std::vector<std::string> wrap_words(const std::string& text, size_t width, bool cut_words, bool hyphens) {
  std::vector<Points> words = words_of(text, hyphens);
  std::reverse(words.begin(), words.end());
  std::vector<std::string> lines;
  while (!words.empty()) {
    spend(64);
    std::vector<Points> line;
    size_t length = 0;
    if (!lines.empty() && is_space(words.back()[0])) words.pop_back();
    while (!words.empty() && length + words.back().size() <= width) {
      length += words.back().size();
      line.push_back(std::move(words.back()));
      words.pop_back();
    }
    if (!words.empty() && words.back().size() > width) {
      Points& word = words.back();
      if (cut_words) {
        spend(word.size() * 16);
        line.emplace_back(word.begin(), word.begin() + static_cast<ptrdiff_t>(width - length));
        word.erase(word.begin(), word.begin() + static_cast<ptrdiff_t>(width - length));
      } else if (line.empty()) {
        line.push_back(std::move(word));
        words.pop_back();
      }
    }
    if (!line.empty() && (line.back().empty() || is_space(line.back()[0]))) line.pop_back();
    std::string out;
    for (const Points& word : line) out += text_of(word);
    if (!line.empty()) lines.push_back(std::move(out));
  }
  return lines;
}

}  // namespace mneme::jinja
