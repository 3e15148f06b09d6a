// The models against slow definitions of what they compute.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_glyphs.h"
#include "text/piece_splits.h"
#include "text/unigram.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace mneme {
namespace {

using Ids = std::vector<int32_t>;

struct Random {
  uint32_t state;
  uint32_t operator()(uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  }
};

Ids encode(const SubwordModel& model, std::string_view text) {
  EncodeScratch scratch;
  Ids out, again;
  model.encode(text, scratch, out);
  model.encode(text, scratch, again);  // from the cache
  EXPECT_EQ(out, again) << text;
  return out;
}

// A random vocabulary by merging: pieces, and merges in order.
struct RandomBpe {
  std::vector<std::string> pieces;
  std::vector<std::array<int32_t, 3>> merges;

  RandomBpe(Random& draw, const std::vector<std::string>& alphabet, size_t count) : pieces(alphabet) {
    std::set<std::string> known(pieces.begin(), pieces.end());
    while (merges.size() < count) {
      const auto a = static_cast<int32_t>(draw(static_cast<uint32_t>(pieces.size())));
      const auto b = static_cast<int32_t>(draw(static_cast<uint32_t>(pieces.size())));
      if (!known.insert(pieces[a] + pieces[b]).second) continue;
      merges.push_back({a, b, static_cast<int32_t>(pieces.size())});
      pieces.push_back(pieces[a] + pieces[b]);
    }
  }

  Vocabulary vocabulary(bool glyphs) const {
    Vocabulary v;
    for (size_t i = 0; i < pieces.size(); ++i) {
      v.add(static_cast<int32_t>(i), glyphs ? bytes_to_glyphs(pieces[i]) : pieces[i]);
    }
    return v;
  }

  MergeTable table() const {
    MergeTable t;
    for (size_t i = 0; i < merges.size(); ++i) {
      t.add(merges[i][0], merges[i][1], {static_cast<uint32_t>(i), merges[i][2]});
    }
    return t;
  }

  // Repeatedly the pair of least rank, the leftmost of equals.
  Ids slowly(Ids ids) const {
    for (;;) {
      size_t best = ids.size(), rank = merges.size();
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        for (size_t r = 0; r < rank; ++r) {
          if (merges[r][0] == ids[i] && merges[r][1] == ids[i + 1]) {
            best = i;
            rank = r;
          }
        }
      }
      if (best == ids.size()) return ids;
      ids[best] = merges[rank][2];
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
  }
};

std::vector<std::string> all_bytes() {
  std::vector<std::string> out;
  for (int b = 0; b < 256; ++b) out.emplace_back(1, static_cast<char>(b));
  return out;
}

// Short words by the scan, long ones by the heap, and long ones cut where no piece joins two bytes.
TEST(Bpe, MergesAsDefined) {
  Random draw{1};
  for (int round = 0; round < 30; ++round) {
    RandomBpe bpe(draw, {"a", "b", "c", "d"}, 40);
    BpeOptions o;
    const Bpe model(bpe.vocabulary(false), bpe.table(), o);
    for (int i = 0; i < 40; ++i) {
      std::string text;
      Ids start;
      for (uint32_t n = 1 + draw(i % 2 ? 20 : 200); n > 0; --n) {
        start.push_back(static_cast<int32_t>(draw(4)));
        text += bpe.pieces[start.back()];
      }
      EXPECT_EQ(encode(model, text), bpe.slowly(start)) << text;
    }
  }
}

TEST(Bpe, BytesMergeAsDefined) {
  Random draw{2};
  RandomBpe bpe(draw, all_bytes(), 400);
  BpeOptions o;
  o.bytes = true;
  const Bpe model(bpe.vocabulary(true), bpe.table(), o);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    Ids start;
    for (uint32_t n = 1 + draw(100); n > 0; --n) {
      const std::string& piece = bpe.pieces[draw(static_cast<uint32_t>(bpe.pieces.size()))];
      text += piece;
      for (const char c : piece) start.push_back(static_cast<unsigned char>(c));
    }
    EXPECT_EQ(encode(model, text), bpe.slowly(start));
  }
}

Vocabulary vocabulary(const std::vector<std::string>& pieces) {
  Vocabulary v;
  for (size_t i = 0; i < pieces.size(); ++i) v.add(static_cast<int32_t>(i), pieces[i]);
  return v;
}

TEST(Bpe, UnknownCharacters) {
  BpeOptions o;
  o.unk = 0;
  EXPECT_EQ(encode(Bpe(vocabulary({"<unk>", "a"}), {}, o), "xxaxx"), (Ids{0, 0, 1, 0, 0}));
  o.fuse_unk = true;
  EXPECT_EQ(encode(Bpe(vocabulary({"<unk>", "a"}), {}, o), "xxaxx"), (Ids{0, 1, 0}));
  const std::string text = std::string(30, 'x') + "a" + std::string(30, 'y');
  EXPECT_EQ(encode(Bpe(vocabulary({"<unk>", "a"}), {}, o), text), (Ids{0, 1, 0}));
  o.unk = -1;
  EXPECT_EQ(encode(Bpe(vocabulary({"<unk>", "a"}), {}, o), "xxaxx"), (Ids{1}));
  o.byte_fallback = true;
  EXPECT_EQ(encode(Bpe(vocabulary({"a", "<0xC3>", "<0xA9>"}), {}, o),
                   "a\xC3\xA9"
                   "b"),
            (Ids{0, 1, 2}));
}

TEST(Bpe, VanishedBytesMakeNeighbours) {
  BpeOptions o;
  o.bytes = true;
  MergeTable merges;
  merges.add(0, 1, {0, 2});
  const Bpe model(vocabulary({"a", "b", "ab"}), std::move(merges), o);
  EXPECT_EQ(encode(model, "axb"), (Ids{2}));
  EXPECT_EQ(encode(model, std::string(50, 'x') + "axb"), (Ids{2}));
  MergeTable same;
  same.add(0, 1, {0, 2});
  const Bpe characters(vocabulary({"a", "b", "ab"}), std::move(same), {});
  EXPECT_EQ(encode(characters, "axb"), (Ids{2}));
  EXPECT_EQ(encode(characters, std::string(50, 'x') + "a\xC3\xA9xb"), (Ids{2}));
}

TEST(Bpe, WholePiecesAndWordEdges) {
  BpeOptions o;
  o.bytes = o.whole_pieces = true;
  EXPECT_EQ(encode(Bpe(vocabulary({"a", "b", "ab"}), {}, o), "ab"), (Ids{2}));  // no merge leads there
  EXPECT_EQ(encode(Bpe(vocabulary({"a", "b", "ab"}), {}, o), "aba"), (Ids{0, 1, 0}));
  BpeOptions edges;
  edges.continuing_prefix = "##";
  edges.word_suffix = "$";
  MergeTable merges;
  merges.add(0, 1, {0, 2});
  EXPECT_EQ(encode(Bpe(vocabulary({"a", "##b$", "ab$"}), std::move(merges), edges), "ab"), (Ids{2}));
}

TEST(Bpe, LongWordsAreNotQuadratic) {
  Random draw{3};
  RandomBpe bpe(draw, {"a", "b"}, 60);
  const Bpe model(bpe.vocabulary(false), bpe.table(), {});
  std::string text;
  for (int i = 0; i < 1000000; ++i) text += static_cast<char>('a' + draw(2));
  size_t length = 0;
  for (const int32_t id : encode(model, text)) length += bpe.pieces[id].size();
  EXPECT_EQ(length, text.size());
}

// SentencePiece: any two neighbours merge whose text is a piece, the best score first.
Ids spm_slowly(const std::vector<std::pair<std::string, float>>& pieces, const std::string& text) {
  std::map<std::string, int32_t> ids;
  for (size_t i = 0; i < pieces.size(); ++i) ids[pieces[i].first] = static_cast<int32_t>(i);
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  for (;;) {
    size_t best = symbols.size();
    float score = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ids.find(symbols[i] + symbols[i + 1]);
      if (it == ids.end() || (best != symbols.size() && pieces[it->second].second <= score)) continue;
      best = i;
      score = pieces[it->second].second;
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  Ids out;
  bool unknown = false;
  for (const std::string& s : symbols) {
    const auto it = ids.find(s);
    if (it != ids.end()) out.push_back(it->second);
    if (it == ids.end() && !unknown) out.push_back(0);
    unknown = it == ids.end();
  }
  return out;
}

TEST(Bpe, SentencePieceMerging) {
  Random draw{4};
  for (int round = 0; round < 40; ++round) {
    // "d" is no piece but occurs in pieces; "e" occurs nowhere. Few scores, so that many are equal.
    std::map<std::string, float> drawn = {{"a", 0}, {"b", 0}, {"c", 0}};
    for (int i = 0; i < 40; ++i) {
      std::string piece;
      for (uint32_t n = 2 + draw(4); n > 0; --n) piece += static_cast<char>('a' + draw(4));
      drawn[piece] = -static_cast<float>(draw(8));
    }
    std::vector<std::pair<std::string, float>> pieces = {{"<unk>", 0}};
    pieces.insert(pieces.end(), drawn.begin(), drawn.end());
    PieceIds symbols;
    Vocabulary v;
    for (size_t i = 0; i < pieces.size(); ++i) {
      v.add(static_cast<int32_t>(i), pieces[i].first);
      if (i > 0) symbols.emplace_back(pieces[i].first, static_cast<int32_t>(i));
    }
    const auto loose = loose_characters(symbols, static_cast<int32_t>(pieces.size()));
    PieceIds halves = symbols;
    for (const auto& [text, id] : loose) halves.emplace_back(text, id);
    MergeTable merges;
    for_each_split(halves, symbols, [&](int32_t left, int32_t right, int32_t whole) {
      merges.add(left, right, {static_cast<uint32_t>(-pieces[whole].second), whole});
    });
    BpeOptions o;
    o.late_unknown = o.fuse_unk = true;
    o.unk = 0;
    const Bpe model(std::move(v), std::move(merges), o, loose);
    for (int i = 0; i < 40; ++i) {
      std::string text;
      for (uint32_t n = 1 + draw(i % 2 ? 15 : 120); n > 0; --n) text += static_cast<char>('a' + draw(5));
      EXPECT_EQ(encode(model, text), spm_slowly(pieces, text)) << text;
    }
  }
}

// The best sum over all ways to cut, by trying them all.
double best_sum(const std::map<std::string, double>& scores, double unknown, const std::string& text) {
  std::vector<double> best(text.size() + 1, -INFINITY);
  best[0] = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (size_t n = 1; i + n <= text.size(); ++n) {
      const auto it = scores.find(text.substr(i, n));
      if (it != scores.end()) best[i + n] = std::max(best[i + n], best[i] + it->second);
    }
    if (!scores.contains(text.substr(i, 1))) best[i + 1] = std::max(best[i + 1], best[i] + unknown);
  }
  return best.back();
}

TEST(Unigram, FindsTheBestCut) {
  Random draw{5};
  for (int round = 0; round < 50; ++round) {
    std::map<std::string, double> scores = {{"a", -3}, {"b", -4}};
    for (int i = 0; i < 20; ++i) {
      std::string piece;
      for (uint32_t n = 1 + draw(4); n > 0; --n) piece += static_cast<char>('a' + draw(3));
      scores[piece] = -1.0 - draw(1000) / 100.0;
    }
    scores.erase("c");
    Vocabulary v;
    UnigramOptions o;
    double lowest = 0;
    v.add(0, "<unk>");
    o.scores.push_back(0);
    std::vector<std::string> texts = {"<unk>"};
    for (const auto& [piece, score] : scores) {
      o.matched.push_back(v.size());
      v.add(v.size(), piece);
      o.scores.push_back(score);
      texts.push_back(piece);
      lowest = std::min(lowest, score);
    }
    o.normal = o.matched;
    o.unk = 0;
    o.cached = true;
    const Unigram model(std::move(v), o, "test");
    for (int i = 0; i < 30; ++i) {
      std::string text;
      for (uint32_t n = 1 + draw(12); n > 0; --n) text += static_cast<char>('a' + draw(3));
      const Ids ids = encode(model, text);
      // Unknown characters are fused, so the sum is taken over the text that is known.
      std::string joined;
      double sum = 0;
      size_t unknown = 0;
      for (const int32_t id : ids) {
        joined += id == 0 ? "" : texts[id];
        sum += id == 0 ? 0 : o.scores[id];
      }
      unknown = text.size() - joined.size();
      EXPECT_NEAR(sum + static_cast<double>(unknown) * (lowest - 10), best_sum(scores, lowest - 10, text),
                  1e-9)
          << text;
    }
  }
}

TEST(Unigram, UnknownAndBytes) {
  UnigramOptions o;
  o.scores = {0, -1, -2, -2};
  o.matched = {0, 1, 2, 3};
  o.normal = {1};
  o.unk = 0;
  const std::vector<std::string> pieces = {"<unk>", "a", "<0xC3>", "<0xA9>"};
  EXPECT_EQ(encode(Unigram(vocabulary(pieces), o, "t"),
                   "ax\xC3\xA9"
                   "a"),
            (Ids{1, 0, 1}));
  o.byte_fallback = true;
  EXPECT_EQ(encode(Unigram(vocabulary(pieces), o, "t"), "a\xC3\xA9"), (Ids{1, 2, 3}));
  EXPECT_EQ(encode(Unigram(vocabulary(pieces), o, "t"), "x\xC3\xA9"), (Ids{0}));
  o.unk = -1;
  EXPECT_THROW(encode(Unigram(vocabulary(pieces), o, "t"), "x"), Error);
}

TEST(WordPiece, LongestFirst) {
  const std::vector<std::string> pieces = {"[UNK]", "un", "##aff", "##able", "##a", "u", "##n"};
  WordPieceOptions o;
  o.unk = 0;
  const WordPiece model(vocabulary(pieces), o);
  EXPECT_EQ(encode(model, "unaffable"), (Ids{1, 2, 3}));
  EXPECT_EQ(encode(model, "unaffablex"), (Ids{0}));
  EXPECT_EQ(encode(model, "una"), (Ids{1, 4}));
  EXPECT_EQ(encode(model, "aff"), (Ids{0}));
  EXPECT_EQ(encode(model, "u" + std::string(99, 'n')).size(), 99u);
  EXPECT_EQ(encode(model, "u" + std::string(100, 'n')), (Ids{0}));
  const WordPiece wide(vocabulary({"[UNK]", "\xC3\xA9", "##\xC3\xA9"}), o);
  std::string word;
  for (int i = 0; i < 100; ++i) word += "\xC3\xA9";
  EXPECT_EQ(encode(wide, word).size(), 100u);  // characters are counted, not bytes
  EXPECT_EQ(encode(wide, word + "\xC3\xA9"), (Ids{0}));
}

TEST(WordLevel, WholeWords) {
  EXPECT_EQ(encode(WordLevel(vocabulary({"x", "y"}), 0), "y"), (Ids{1}));
  EXPECT_EQ(encode(WordLevel(vocabulary({"x", "y"}), 0), "z"), (Ids{0}));
  EXPECT_EQ(encode(WordLevel(vocabulary({"x", "y"}), -1), "z"), Ids{});
}

TEST(MergeTable, AgreesWithAMap) {
  Random draw{6};
  MergeTable table;
  table.reserve(100);
  std::map<std::pair<int32_t, int32_t>, uint32_t> map;
  for (uint32_t i = 0; i < 5000; ++i) {
    const auto a = static_cast<int32_t>(draw(200)), b = static_cast<int32_t>(draw(200));
    table.add(a, b, {i, static_cast<int32_t>(i)});
    map[{a, b}] = i;
  }
  EXPECT_EQ(table.size(), map.size());
  for (int32_t a = 0; a < 200; ++a) {
    for (int32_t b = 0; b < 200; ++b) {
      const auto it = map.find({a, b});
      EXPECT_EQ(table.find(a, b).rank, it == map.end() ? MergeTable::kNoRank : it->second);
    }
  }
  EXPECT_EQ(table.find(-1, -1).id, -1);
}

}  // namespace
}  // namespace mneme
