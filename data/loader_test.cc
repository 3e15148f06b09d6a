#include "data/loader.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "base/error.h"
#include "data/testing.h"

namespace mneme {
namespace {

using Ids = std::vector<int32_t>;

// Document d holds 1000 d, 1000 d + 1, ...
TokenSet counting(const std::vector<int64_t>& lengths) {
  std::vector<TokenizedDocument> documents;
  for (size_t d = 0; d < lengths.size(); ++d) {
    documents.emplace_back();
    for (int64_t i = 0; i < lengths[d]; ++i)
      documents.back().ids.push_back(static_cast<int32_t>(1000 * d + static_cast<size_t>(i)));
  }
  return TokenSet(std::move(documents));
}

Ids row_ids(const TokenBatch& batch, int64_t row) {
  const auto begin = batch.ids.begin() + row * batch.length;
  return {begin, begin + batch.count[static_cast<size_t>(row)]};
}

bool same(const TokenBatch& a, const TokenBatch& b) {
  return a.ids == b.ids && a.labels == b.labels && a.count == b.count && a.reset == b.reset &&
         a.last == b.last && a.ends == b.ends;
}

TEST(Loader, RowsWalkTheirDocuments) {
  const TokenSet set = counting({10, 5, 7, 2, 1, 9});
  LoaderOptions options;
  options.rows = 2;
  options.length = 4;
  Loader loader(set, options, 1);
  std::map<int64_t, Ids> open;
  std::vector<Ids> finished;
  while (loader.epoch() == 0) {
    const TokenBatch batch = loader.next();
    for (int64_t row = 0; row < 2; ++row) {
      const auto r = static_cast<size_t>(row);
      Ids& so_far = open[row];
      EXPECT_EQ(batch.reset[r] != 0, so_far.empty());
      const Ids ids = row_ids(batch, row);
      so_far.insert(so_far.end(), ids.begin(), ids.end());
      for (int64_t t = 0; t < batch.length; ++t) {
        const int32_t label = batch.labels[static_cast<size_t>(row * 4 + t)];
        const bool ends_here = t + 1 >= static_cast<int64_t>(ids.size()) && batch.last[r];
        if (t >= static_cast<int64_t>(ids.size()) || ends_here) {
          EXPECT_EQ(label, kNoLabel);
        } else {
          EXPECT_EQ(label, ids[static_cast<size_t>(t)] + 1);
        }
      }
      if (batch.last[r]) {
        finished.push_back(so_far);
        so_far.clear();
      } else {
        EXPECT_EQ(batch.count[r], 4);
      }
    }
  }
  std::set<int32_t> begun;
  for (const Ids& document : finished) {
    begun.insert(document[0]);
    for (size_t i = 1; i < document.size(); ++i) EXPECT_EQ(document[i], document[i - 1] + 1);
  }
  EXPECT_GE(begun.size(), 4U);  // one or two are still open; that of one token has nothing to predict
  EXPECT_FALSE(begun.count(4000));
}

TEST(Loader, SegmentsLieOnTheDocumentsGrid) {
  const TokenSet set = counting({23});
  LoaderOptions options;
  options.rows = 1;
  options.length = 10;
  options.segment = 4;
  Loader loader(set, options, 1);
  EXPECT_THAT(loader.next().ends[0], testing::ElementsAre(4, 8));
  EXPECT_THAT(loader.next().ends[0], testing::ElementsAre(2, 6, 10));
  EXPECT_THAT(loader.next().ends[0], testing::ElementsAre(3));
  EXPECT_TRUE(loader.next().reset[0]);
}

TEST(Loader, APositionGoesOnBitForBit) {
  const TokenSet set = counting({10, 50, 7, 2, 33, 9, 12});
  for (const char* layout : {"documents", "windows", "samples"}) {
    LoaderOptions options;
    options.layout = layout;
    options.rows = 4;
    options.length = 6;
    Loader whole(set, options, 5), other(set, options, 5);
    for (int step = 0; step < 40; ++step) {
      Loader resumed(set, options, 5);
      resumed.restore(nlohmann::json::parse(other.position().dump()));
      const TokenBatch expected = whole.next();
      EXPECT_TRUE(same(resumed.next(), expected)) << layout << " " << step;
      other.next();
    }
    Loader foreign(set, options, 6);
    EXPECT_THROW(foreign.restore(whole.position()), Error);
    nlohmann::json bad = whole.position();
    bad["cursor"] = -1;
    EXPECT_THROW(other.restore(bad), Error);
  }
}

TEST(Loader, RanksShareTheGlobalBatch) {
  const TokenSet set = counting({10, 50, 7, 2, 33, 9, 12});
  for (const char* layout : {"documents", "windows", "samples"}) {
    LoaderOptions options;
    options.layout = layout;
    options.rows = 4;
    options.length = 6;
    Loader all(set, options, 5), first(set, options, 5, 0, 2), second(set, options, 5, 1, 2);
    for (int step = 0; step < 20; ++step) {
      const TokenBatch whole = all.next(), a = first.next(), b = second.next();
      ASSERT_EQ(a.length, whole.length);
      Ids joined = a.ids;
      joined.insert(joined.end(), b.ids.begin(), b.ids.end());
      EXPECT_EQ(joined, whole.ids) << layout;
    }
    EXPECT_THROW(Loader(set, options, 5, 0, 3), Error);
  }
}

TEST(Loader, EpochsAreOrderedAnewAndComplete) {
  std::vector<int64_t> lengths(50, 3);
  const TokenSet set = counting(lengths);
  LoaderOptions options;
  options.layout = "samples";
  options.rows = 5;
  Loader loader(set, options, 9);
  std::vector<Ids> orders(2);
  for (Ids& order : orders) {
    for (int step = 0; step < 10; ++step) {
      const TokenBatch batch = loader.next();
      for (int64_t row = 0; row < 5; ++row) order.push_back(row_ids(batch, row)[0]);
    }
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_EQ(std::set<int32_t>(orders[0].begin(), orders[0].end()).size(), 50U);
  EXPECT_EQ(std::set<int32_t>(orders[1].begin(), orders[1].end()).size(), 50U);
}

TEST(Loader, SamplesArePaddedOnTheRightWithTheirMask) {
  std::vector<TokenizedDocument> documents = {{{1, 2, 3, 4, 5}, {0, 0, 0, 1, 1}}, {{6, 7, 8}, {0, 0, 1}}};
  const TokenSet set(std::move(documents));
  LoaderOptions options;
  options.layout = "samples";
  options.rows = 2;
  options.shuffle = false;
  const TokenBatch batch = Loader(set, options, 1).next();
  EXPECT_EQ(batch.length, 5);
  EXPECT_EQ(batch.ids, (Ids{1, 2, 3, 4, 5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(batch.labels, (Ids{-100, -100, 4, 5, -100, -100, 8, -100, -100, -100}));
  EXPECT_EQ(batch.labelled(), 3);
  EXPECT_THAT(batch.count, testing::ElementsAre(5, 3));
}

TEST(Loader, ABatchWithoutLabelsIsAnError) {
  std::vector<TokenizedDocument> documents = {{{1, 2, 3, 4, 5, 6}, {0, 0, 0, 0, 0, 1}}};
  const TokenSet set(std::move(documents));
  LoaderOptions options;
  options.layout = "samples";
  options.rows = 1;
  options.length = 4;  // cuts off the only token that counts
  EXPECT_THROW(Loader(set, options, 1).next(), Error);
  options.allow_unlabelled = true;
  EXPECT_EQ(Loader(set, options, 1).next().labelled(), 0);
  const TokenSet masked(std::vector<TokenizedDocument>{{{1, 2}, {0, 0}}});
  EXPECT_THROW(Loader(masked, options, 1), Error);
  EXPECT_THROW(Loader(counting({1, 1}), options, 1), Error);
}

TEST(Loader, SeekingLeadsToTheSamePlaceAsReading) {
  const TokenSet set = counting({10, 5, 7, 2, 30, 9});
  for (const char* layout : {"documents", "windows", "samples"}) {
    LoaderOptions options;
    options.layout = layout;
    options.rows = 2;
    options.length = 4;
    Loader read(set, options, 1), sought(set, options, 1);
    for (int64_t step = 0; step < 40; ++step) {
      sought.seek(step);
      EXPECT_EQ(sought.position(), read.position()) << layout << " " << step;
      EXPECT_TRUE(same(sought.next(), read.next())) << layout << " " << step;
    }
    sought.seek(3);  // back
    EXPECT_EQ(sought.step(), 3);
    Loader fresh(set, options, 1);
    fresh.seek(3);
    EXPECT_TRUE(same(sought.next(), fresh.next())) << layout;
  }
}

TEST(Loader, WindowsReachEveryPlace) {
  const TokenSet set = counting({6, 5});
  LoaderOptions options;
  options.layout = "windows";
  options.rows = 8;
  options.length = 4;
  Loader loader(set, options, 3);
  std::set<int32_t> first;
  for (int step = 0; step < 40; ++step) {
    const TokenBatch batch = loader.next();
    for (int64_t row = 0; row < 8; ++row) first.insert(row_ids(batch, row)[0]);
  }
  EXPECT_EQ(first, (std::set<int32_t>{0, 1, 2, 3, 4, 5, 1000}));  // every window with a token after it
  EXPECT_THROW(Loader(counting({4}), options, 1), Error);
}

}  // namespace
}  // namespace mneme
