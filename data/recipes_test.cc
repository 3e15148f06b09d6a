#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "data/recipes_hmt.h"
#include "data/recipes_landmark.h"
#include "data/testing.h"

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

TEST(HmtRecipes, TheOriginalsNumbers) {
  const std::string path = shared_folder() + "/goldens/hmt/data_pipeline/io.json";
  if (!file_exists(path)) GTEST_SKIP() << path << " is not here";
  const nlohmann::json io = read_json(path);
  const auto documents = io["docs"].get<std::vector<Ids>>();
  const auto block = io["block_size"].get<int64_t>(), depth = io["bptt_depth"].get<int64_t>();
  const auto train = hmt_samples(documents, block, (depth - 1) * block, true);
  EXPECT_EQ(train, io["train_samples"].get<std::vector<Ids>>());
  EXPECT_EQ(hmt_samples(documents, block, io["test_length"].get<int64_t>(), true),
            io["test_samples"].get<std::vector<Ids>>());
  EXPECT_EQ(hmt_interleave(documents, io["interleave_len"].get<int64_t>()),
            io["interleaved_docs"].get<std::vector<Ids>>());
  EXPECT_EQ(hmt_dilate(documents, io["dilate_len"].get<int64_t>(), io["dilate_token"].get<int32_t>()),
            io["dilated_docs"].get<std::vector<Ids>>());

  std::vector<Ids> chosen;
  for (const auto& i : io["collate_of_train_samples"]) chosen.push_back(train[i.get<size_t>()]);
  const LeftPadded batch = hmt_collate(chosen, io["pad_id"].get<int32_t>(), block);
  const auto rows = [&](const Ids& flat) {
    std::vector<Ids> made;
    for (int64_t r = 0; r < batch.rows; ++r) {
      made.emplace_back(flat.begin() + r * batch.length, flat.begin() + (r + 1) * batch.length);
    }
    return made;
  };
  EXPECT_EQ(rows(batch.input_ids), io["collated"]["input_ids"].get<std::vector<Ids>>());
  EXPECT_EQ(rows(batch.labels), io["collated"]["labels"].get<std::vector<Ids>>());
  EXPECT_EQ(rows(batch.attention_mask), io["collated"]["attention_mask"].get<std::vector<Ids>>());
  EXPECT_EQ(rows(batch.labels_mask), io["collated"]["labels_mask"].get<std::vector<Ids>>());

  const auto& pubmed = io["pubmedqa"];
  std::vector<PubMedRow> table;
  for (size_t i = 0; i < pubmed["rows"].get<size_t>(); ++i) {
    const auto& columns = pubmed["columns"];
    table.push_back({columns["context"][i]["contexts"].get<std::vector<std::string>>(),
                     columns["question"][i].get<std::string>(),
                     columns["long_answer"][i].get<std::string>()});
  }
  const auto texts = pubmed_texts(table, pubmed["fuse_size"].get<int64_t>(), true);
  EXPECT_EQ(texts, pubmed["texts"].get<std::vector<std::string>>());
  std::vector<Ids> encoded;
  for (size_t i = 0; i < 2; ++i) {
    encoded.push_back({1});
    for (const char c : texts[i]) encoded.back().push_back(3 + static_cast<unsigned char>(c) % 90);
  }
  EXPECT_EQ(encoded, pubmed["first_batch_input_ids"].get<std::vector<Ids>>());

  for (const auto& [key, value] : io["round_half_even"].items()) {
    const size_t star = key.find('*');
    EXPECT_EQ(hmt_round(std::stoll(key), std::stod(key.substr(star + 1))), value.get<int64_t>()) << key;
  }
}

TEST(LandmarkRecipes, WhereLandmarksGo) {
  EXPECT_EQ(landmark_stream({1, 2, 3, 4, 5}, 2, 9), (Ids{1, 2, 9, 3, 4, 9, 5}));
  EXPECT_EQ(landmark_stream({1, 2, 3, 4}, 2, 9), (Ids{1, 2, 9, 3, 4, 9}));
  EXPECT_EQ(landmark_row({1, 2, 3, 4}, 2, 9), (Ids{1, 2, 9, 3, 4}));
  EXPECT_EQ(landmark_row({}, 2, 9), Ids{});
  EXPECT_EQ(landmark_labels({1, 2, 9, 3, 8, 9, 5, 6}, 0, 6, 9, 8), (Ids{2, 3, -1, 8, -1, -1}));
  EXPECT_THROW(landmark_labels({1, 2, 3}, 0, 2, 9, 8), Error);
}

// The integers of a safetensors file; io/ has the real reader, which this folder stands below.
std::map<std::string, std::pair<std::vector<int64_t>, Ids>> integers(const std::string& path) {
  const std::string bytes = read_file(path);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  std::map<std::string, std::pair<std::vector<int64_t>, Ids>> all;
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, size));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || entry["dtype"] != "I64") continue;
    Ids values;
    for (size_t at = entry["data_offsets"][0]; at < entry["data_offsets"][1].get<size_t>(); at += 8) {
      int64_t value = 0;
      std::memcpy(&value, bytes.data() + 8 + size + at, 8);
      values.push_back(static_cast<int32_t>(value));
    }
    all[name] = {entry["shape"].get<std::vector<int64_t>>(), values};
  }
  return all;
}

TEST(LandmarkRecipes, TheOriginalsNumbers) {
  const std::string folder = shared_folder() + "/goldens/landmark/data_and_schedules";
  if (!file_exists(folder + "/io.safetensors")) GTEST_SKIP() << folder << " is not here";
  const nlohmann::json memory = read_json(folder + "/config.json")["memory"];
  const auto io = integers(folder + "/io.safetensors");
  const auto landmark = memory["lm"]["landmark_id"].get<int32_t>();
  const Ids stream = landmark_stream(io.at("raw").second, memory["lm"]["mem_freq"].get<int64_t>(), landmark);
  EXPECT_EQ(stream, io.at("lm.stream").second);
  const auto length = memory["lm"]["seq_length"].get<int64_t>();
  Ids x, y;
  for (const int32_t start : io.at("lm.start").second) {
    x.insert(x.end(), stream.begin() + start, stream.begin() + start + length);
    const Ids labels =
        landmark_labels(stream, start, length, landmark, memory["lm"]["eot_id"].get<int32_t>());
    y.insert(y.end(), labels.begin(), labels.end());
  }
  EXPECT_EQ(x, io.at("lm.x").second);
  EXPECT_EQ(y, io.at("lm.y").second);

  const auto& [shape, rows] = io.at("llama.rows");
  int checked = 0;
  for (const auto& [name, expected] : io) {
    int row = 0, count = 0;
    if (std::sscanf(name.c_str(), "llama.row%d_len%d", &row, &count) != 2) continue;
    const auto begin = rows.begin() + row * shape[1];
    EXPECT_EQ(landmark_row({begin, begin + count}, memory["llama"]["mem_freq"].get<int64_t>(),
                           memory["llama"]["landmark_id"].get<int32_t>()),
              expected.second)
        << name;
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

}  // namespace
}  // namespace mneme
