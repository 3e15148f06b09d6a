#include <gtest/gtest.h>

#include "base/error.h"
#include "data/recipes_hmt.h"
#include "data/recipes_landmark.h"

namespace mneme {
namespace {

TEST(HmtRecipes, GroupingAsPublishedAndAsMeant) {
  const std::vector<Ids> documents = {{1, 2, 3, 4}, {5, 6, 7}};
  EXPECT_EQ(hmt_samples(documents, 2, 4, true),
            (std::vector<Ids>{{1, 2, 3, 4}, {1, 2, 3, 4, 5, 6}, {3, 4, 5, 6, 7}, {5, 6, 7}}));
  EXPECT_EQ(hmt_samples(documents, 2, 4, false),
            (std::vector<Ids>{{1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4, 5, 6}, {3, 4, 5, 6, 7}}));
  EXPECT_TRUE(hmt_samples({}, 2, 4, true).empty());
  EXPECT_THROW(hmt_samples(documents, 0, 4, true), Error);
}

TEST(HmtRecipes, InterleaveAndDilate) {
  EXPECT_EQ(hmt_interleave({{1, 2, 3, 4, 5}, {11, 12, 13}, {21}}, 2),
            (std::vector<Ids>{{1, 2, 11, 12, 3, 4, 13, 5}, {21}}));
  EXPECT_EQ(hmt_dilate({{1, 2, 3}}, 2, 0), (std::vector<Ids>{{1, 2, 0, 0, 3, 0, 0}}));
}

TEST(HmtRecipes, TopicsOfPubMed) {
  std::vector<PubMedRow> rows;
  for (int i = 0; i < 5; ++i)
    rows.push_back({{"c" + std::to_string(i)}, "q" + std::to_string(i), "a" + std::to_string(i)});
  EXPECT_EQ(pubmed_texts(rows, 2, false),
            (std::vector<std::string>{" c0 c1 q0 a0", " c0 c1 q1 a1", " c2 c3 q2 a2", " c2 c3 q3 a3",
                                      " c4 q4 a4"}));
  EXPECT_EQ(pubmed_texts(rows, 2, true),
            (std::vector<std::string>{" c0 c1 q0 a0", " c0 c1 q1 a1", " c4 q4 a4"}));
}

TEST(HmtRecipes, HalvesGoToTheEvenSide) {
  EXPECT_EQ(hmt_round(7, 0.5), 4);
  EXPECT_EQ(hmt_round(9, 0.5), 4);
  EXPECT_EQ(hmt_round(10, 0.25), 2);
  EXPECT_EQ(hmt_round(11, 0.25), 3);
}

TEST(LandmarkRecipes, WhereLandmarksGo) {
  EXPECT_EQ(landmark_stream({1, 2, 3, 4, 5}, 2, 9), (Ids{1, 2, 9, 3, 4, 9, 5}));
  EXPECT_EQ(landmark_stream({1, 2, 3, 4}, 2, 9), (Ids{1, 2, 9, 3, 4, 9}));
  EXPECT_EQ(landmark_row({1, 2, 3, 4}, 2, 9), (Ids{1, 2, 9, 3, 4}));
  EXPECT_EQ(landmark_row({}, 2, 9), Ids{});
  EXPECT_EQ(landmark_labels({1, 2, 9, 3, 8, 9, 5, 6}, 0, 6, 9, 8), (Ids{2, 3, -1, 8, -1, -1}));
  EXPECT_THROW(landmark_labels({1, 2, 3}, 0, 2, 9, 8), Error);
}

}  // namespace
}  // namespace mneme
