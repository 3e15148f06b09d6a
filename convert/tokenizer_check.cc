#include "convert/tokenizer_check.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "base/json.h"

namespace mneme {
namespace {

constexpr const char* kTexts[] = {
    "",
    "Hello, world!",
    "The quick brown fox doesn't jump; it'd rather sleep. I'LL SEE.",
    " leading",
    "trailing ",
    "two  three   many      spaces",
    "line\nends\n\n\nand\r\nothers\ttabs\t\t",
    "   ",
    "\n",
    "0 12 345 6789 1234567890 3.14159 1,000,000",
    "x = foo(bar[i], \"baz\") // {a: 1} <b> #5 $x ~y ^z |w| `q`",
    "caf\xC3\xA9 na\xC3\xAFve \xC3\x9C"
    "ber",
    "cafe\xCC\x81 A\xCC\x8A",
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82",
    "\xE3\x81\x93\xE3\x82\x93\xE3\x81\xAB\xE3\x81\xA1\xE3\x81\xAF",
    "\xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82",
    "\xD8\xA7\xD9\x84\xD8\xB9\xD8\xB1\xD8\xA8\xD9\x8A\xD8\xA9",
    "\xF0\x9F\x98\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB \xE2\x82\xAC\xC2\xA3",
    "\xEF\xAC\x81ne \xEF\xBC\xA1\xEF\xBC\xA2 \xC2\xBD",
    "http://example.org/a_b-c?d=e&f=%20#g",
    "antidisestablishmentarianism aaaaaaaaaaaaaaaaaaaaaaaa",
};

}  // namespace

std::string TokenizerComparison::summary() const {
  if (different.empty()) return {};
  const TokenizerDifference& first = different.front();
  return fmt::format("{} of {} texts give other ids, the first of them {}: [{}], before [{}]",
                     different.size(), texts, dump_json(first.text), fmt::join(first.after, ", "),
                     fmt::join(first.before, ", "));
}

TokenizerComparison compare_tokenizers(const Tokenizer& before, const Tokenizer& after) {
  std::vector<std::string> texts(std::begin(kTexts), std::end(kTexts));
  for (const AddedToken& t : before.added_tokens()) texts.push_back("a" + t.content + "b");
  TokenizerComparison out;
  for (const std::string& text : texts) {
    TokenizerDifference d{text, before.encode(text, true), after.encode(text, true)};
    ++out.texts;
    if (d.before != d.after) out.different.push_back(std::move(d));
  }
  return out;
}

}  // namespace mneme
