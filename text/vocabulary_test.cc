#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/error.h"
#include "text/trie.h"

namespace mneme {
namespace {

std::string random_key(uint32_t& state, uint32_t letters, uint32_t longest) {
  const auto draw = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  std::string out;
  for (uint32_t n = 1 + draw(longest); n > 0; --n) out += static_cast<char>(255 - draw(letters) * 85 % 256);
  return out;
}

TEST(Vocabulary, FindsWhatWasAdded) {
  Vocabulary v;
  v.add(3, "c");
  v.add(0, "");
  v.add(7, std::string_view("\0x", 2));
  EXPECT_EQ(v.size(), 8);
  EXPECT_EQ(v.count(), 3);
  EXPECT_EQ(v.find("c"), 3);
  EXPECT_EQ(v.find(""), 0);
  EXPECT_EQ(v.find(std::string_view("\0x", 2)), 7);
  EXPECT_EQ(v.find("d"), -1);
  EXPECT_FALSE(v.piece(1));
  EXPECT_FALSE(v.piece(-1));
  EXPECT_FALSE(v.piece(8));
  EXPECT_EQ(v.piece(3), "c");
  v.add(8, "c");  // the later id wins
  EXPECT_EQ(v.find("c"), 8);
  EXPECT_EQ(v.piece(3), "c");
}

TEST(Vocabulary, RefusesAbsurdAndRepeatedIds) {
  Vocabulary v;
  v.add(1, "a");
  EXPECT_THROW(v.add(1, "b"), Error);
  EXPECT_THROW(v.add(-1, "b"), Error);
  EXPECT_THROW(v.add(Vocabulary::kMostIds, "b"), Error);
}

TEST(Vocabulary, AgreesWithAMap) {
  uint32_t state = 1;
  Vocabulary v;
  std::map<std::string, int32_t> map;
  for (int32_t id = 0; id < 20000; ++id) {
    const std::string key = random_key(state, 4, 8);
    v.add(id, key);
    map[key] = id;
  }
  for (const auto& [key, id] : map) ASSERT_EQ(v.find(key), id);
  for (int i = 0; i < 20000; ++i) {
    const std::string key = random_key(state, 5, 9);
    const auto it = map.find(key);
    ASSERT_EQ(v.find(key), it == map.end() ? -1 : it->second);
  }
}

TEST(Trie, LongestPrefixAgreesWithAMap) {
  uint32_t state = 5;
  std::map<std::string, int32_t> map;
  std::vector<std::string> keys;
  for (int32_t i = 0; i < 3000; ++i) keys.push_back(random_key(state, i % 3 == 0 ? 3 : 2, 10));
  std::vector<std::pair<std::string_view, int32_t>> views;
  for (size_t i = 0; i < keys.size(); ++i) {
    views.emplace_back(keys[i], static_cast<int32_t>(i));
    map[keys[i]] = static_cast<int32_t>(i);
  }
  const Trie trie(views);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random_key(state, 3, 14);
    Trie::Match expected;
    for (size_t n = 1; n <= text.size(); ++n) {
      if (const auto it = map.find(text.substr(0, n)); it != map.end()) expected = {it->second, n};
    }
    const Trie::Match found = trie.longest_prefix(text);
    ASSERT_EQ(found.size, expected.size);
    ASSERT_EQ(found.value, expected.value);
  }
}

TEST(Trie, Empty) {
  EXPECT_TRUE(Trie().empty());
  EXPECT_EQ(Trie().longest_prefix("a").size, 0u);
  EXPECT_EQ(Trie({{"a", 1}}).longest_prefix("").size, 0u);
}

}  // namespace
}  // namespace mneme
