#include "text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "text/byte_glyphs.h"
#include "text/tokenizer.h"

namespace mneme {
namespace {

TrainedBpe train(const std::vector<std::string>& texts, int64_t size, std::vector<std::string> special = {},
                 std::string pattern = {}) {
  BpeTrainer trainer({size, std::move(special), std::move(pattern), 1});
  for (const std::string& t : texts) trainer.add(t);
  return trainer.train();
}

using Merges = std::vector<std::pair<std::string, std::string>>;

TEST(BpeTrainer, MostFrequentPairFirstAndTheGreaterOfEquals) {
  // Counts: "lo" 7 and "ow" 7 (the latter is greater), then "l"+"ow" 7.
  const std::string text = "low low low low low lower lower";
  const TrainedBpe t = train({text}, 256 + 2);
  EXPECT_EQ(t.merges, (Merges{{"o", "w"}, {"l", "ow"}}));
  EXPECT_EQ(t.pieces.size(), 258u);
  EXPECT_EQ(t.pieces[0], "!");
}

TEST(BpeTrainer, RunsOfOnePiece) {
  // "aaaaa" holds the pair four times; merged from the left it leaves aa aa a.
  const TrainedBpe t = train({"aaaaa"}, 256 + 3);
  EXPECT_EQ(t.merges, (Merges{{"a", "a"}, {"aa", "aa"}, {"aaaa", "a"}}));
}

TEST(BpeTrainer, StopsWhenNothingIsLeft) {
  const TrainedBpe t = train({"ab"}, 1000);
  EXPECT_EQ(t.merges.size(), 1u);
  BpeTrainer rare({1000, {}, "", 2});
  rare.add("ab cd");
  EXPECT_TRUE(rare.train().merges.empty());
}

TEST(BpeTrainer, SpecialTokensCutTexts) {
  const TrainedBpe t = train({"ab<x>ab<x>ab"}, 300, {"<x>"});
  EXPECT_EQ(t.merges, (Merges{{"a", "b"}}));
  const Tokenizer tokenizer(parse_tokenizer_json(to_tokenizer_json(t), "trained"));
  EXPECT_EQ(tokenizer.encode("ab<x>ab", false), (std::vector<int32_t>{257, 0, 257}));
  EXPECT_EQ(tokenizer.vocab_size(), 258);
}

// The slow definition: count all pairs anew for every merge.
TrainedBpe train_slowly(const std::vector<std::string>& words, size_t merges) {
  std::vector<std::vector<std::string>> split;
  for (const std::string& w : words) {
    split.emplace_back();
    for (const char c : w) split.back().emplace_back(1, c);
  }
  TrainedBpe out;
  while (out.merges.size() < merges) {
    std::map<std::pair<std::string, std::string>, int> counts;
    for (const auto& w : split) {
      for (size_t i = 0; i + 1 < w.size(); ++i) ++counts[{w[i], w[i + 1]}];
    }
    if (counts.empty()) break;
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it) {
      if (it->second >= best->second) best = it;  // the map is in order: the last is the greatest
    }
    const auto pair = best->first;
    out.merges.push_back(pair);
    for (auto& w : split) {
      for (size_t i = 0; i + 1 < w.size(); ++i) {
        if (w[i] != pair.first || w[i + 1] != pair.second) continue;
        w[i] += w[i + 1];
        w.erase(w.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return out;
}

TEST(BpeTrainer, AgreesWithTheSlowDefinition) {
  uint32_t state = 1;
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> words;
    std::string text;
    for (int w = 0; w < 60; ++w) {
      std::string word;
      for (uint32_t n = 1 + draw(9); n > 0; --n) word += static_cast<char>('a' + draw(3));
      text += word + "\n";
      words.push_back(word);
      words.emplace_back("\n");
    }
    // One pattern piece for each line and each line end.
    BpeTrainer trainer({256 + 25, {}, "[^\n]+|\n", 1});
    trainer.add(text);
    EXPECT_EQ(trainer.train().merges, train_slowly(words, 25).merges) << text;
  }
}

TEST(BpeTrainer, WritesAFileThatReadsBackAndRoundTrips) {
  for (const char* pattern : {"", R"(\p{N}{1,3}|\s?\p{L}+|[^\p{L}\p{N}]+)"}) {
    const TrainedBpe t =
        train({"the cat sat on the mat, the cat sat in 1984 \xC3\xA9t\xC3\xA9"}, 280, {"<|end|>"}, pattern);
    const Tokenizer tokenizer(parse_tokenizer_json(to_tokenizer_json(t), "trained"));
    for (const char* text : {"the cat", "", "  \n\t", "\xC3\xA9t\xC3\xA9 1984<|end|>x", "\xF0\x9F\x98\x80"}) {
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false), false), text);
    }
  }
}

TEST(BpeTrainer, RefusesImpossibleOptions) {
  EXPECT_THROW(BpeTrainer({100, {}, "", 2}), Error);
  EXPECT_THROW(BpeTrainer({300, {"a", "a"}, "", 2}), Error);
  EXPECT_THROW(BpeTrainer({300, {""}, "", 2}), Error);
  EXPECT_THROW(BpeTrainer({300, {}, "(", 2}), Error);
}

TEST(BpeTrainer, Reference) {
  const char* named = std::getenv("MNEME_SHARED");
  const std::string folder = std::string(named ? named : "../shared") + "/data/tokenizers/bpe-training/";
  if (!file_exists(folder + "corpus.en")) GTEST_SKIP() << "no shared data";
  BpeTrainer trainer({500, {"<|endoftext|>"}, "", 1});
  trainer.add(read_file(folder + "corpus.en"));
  const TrainedBpe t = trainer.train();
  std::string merges;
  for (const auto& [left, right] : t.merges)
    merges += bytes_to_glyphs(left) + " " + bytes_to_glyphs(right) + "\n";
  EXPECT_EQ(merges, read_file(folder + "train-bpe-reference-merges.txt"));
  const auto vocab = nlohmann::json::parse(read_file(folder + "train-bpe-reference-vocab.json"));
  EXPECT_EQ(nlohmann::json::parse(to_tokenizer_json(t))["model"]["vocab"], vocab);
}

}  // namespace
}  // namespace mneme
