#include "data/shard.h"

#include "base/error.h"
#include "data/prepare.h"
#include "data/testing.h"
#include "data/token_set.h"

namespace mneme {
namespace {

using Ids = std::vector<int32_t>;

Ids ids_of(const Shard& shard, uint64_t document) {
  Ids ids(shard.end_of(document) - shard.begin_of(document));
  shard.copy(shard.begin_of(document), ids.size(), ids.data());
  return ids;
}

TEST(Shard, WhatIsWrittenIsRead) {
  TestFolder folder("shard");
  for (const uint32_t vocabulary : {65536U, 65537U}) {
    ShardWriter writer({11, 22, vocabulary});
    writer.add({{1, 2, 65535}, {}});
    writer.add({{7}, {0}});
    writer.add({{8, 9, 10, 11, 12, 13, 14}, {0, 1, 0, 1, 1, 0, 0}});
    EXPECT_EQ(writer.trained(), 6U);
    const std::string path = folder.path("a.tokens");
    writer.write(path);
    const Shard shard(path);
    EXPECT_EQ(shard.bits(), vocabulary > 65536 ? 32 : 16);
    EXPECT_EQ(shard.tokens(), 11U);
    EXPECT_EQ(shard.documents(), 3U);
    EXPECT_EQ(shard.trained(), 6U);
    EXPECT_EQ(shard.info().tokenizer, 11U);
    EXPECT_EQ(shard.info().settings, 22U);
    EXPECT_EQ(ids_of(shard, 0), (Ids{1, 2, 65535}));
    EXPECT_EQ(ids_of(shard, 2), (Ids{8, 9, 10, 11, 12, 13, 14}));
    EXPECT_TRUE(shard.masked());
    const bool counts[] = {true, true, true, false, false, true, false, true, true, false, false};
    for (size_t i = 0; i < 11; ++i) EXPECT_EQ(shard.counts(i), counts[i]) << i;
  }
  ShardWriter writer({0, 0, 100});
  writer.add({{1, 2}, {}});
  writer.write(folder.path("b.tokens"));
  EXPECT_FALSE(Shard(folder.path("b.tokens")).masked());
  EXPECT_THROW(writer.add({{100}, {}}), Error);
}

TEST(Shard, EveryChangedByteIsFound) {
  TestFolder folder("shard_damage");
  ShardWriter writer({11, 22, 1000});
  writer.add({{1, 2, 3}, {1, 0, 1}});
  writer.add({{4, 5}, {}});
  writer.write(folder.path("a.tokens"));
  const std::string whole = read_file(folder.path("a.tokens"));
  int padding = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    folder.write("b.tokens", changed);
    try {
      Shard shard(folder.path("b.tokens"));
      ++padding;  // the zeros between sections belong to nothing
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Kind::input);
    }
  }
  EXPECT_EQ(padding, (192 - 128 - 3 * 8) + (256 - 192 - 5 * 2));
  for (size_t size = 0; size < whole.size(); size += 7) {
    folder.write("b.tokens", whole.substr(0, size));
    EXPECT_THROW(Shard(folder.path("b.tokens")), Error) << size;
  }
  folder.write("b.tokens", whole + "x");
  EXPECT_THROW(Shard(folder.path("b.tokens")), Error);
}

PrepareOptions options_for(const TestFolder& folder) {
  PrepareOptions options;
  options.inputs = {folder.path("in")};
  options.out = folder.path("out");
  options.shard_tokens = 50;
  return options;
}

void write_books(const TestFolder& folder, int count) {
  for (int i = 0; i < count; ++i) {
    folder.write("in/book" + std::to_string(i) + ".txt",
                 "the lazy dog " + std::to_string(i) + std::string(20, 'x'));
  }
  folder.write(
      "in/chat.jsonl",
      "{\"prompt\": \"the \", \"completion\": \"dog\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n");
}

std::vector<std::string> contents(const std::string& folder) {
  std::vector<std::string> all;
  for (const std::string& name : list_folder(folder))
    all.push_back(name + read_file(join_path(folder, name)));
  return all;
}

TEST(Prepare, DocumentsKeepTheirBordersAndMasks) {
  TestFolder folder("prepare");
  write_books(folder, 12);
  const PrepareReport report = prepare_data(options_for(folder), test_tokenizer().get());
  EXPECT_EQ(report.documents, 14);
  EXPECT_GT(report.shards, 3);
  const TokenSet set = TokenSet::open(folder.path("out"));
  ASSERT_EQ(set.documents(), 14);
  EXPECT_EQ(set.tokens(), report.tokens);
  EXPECT_EQ(set.trained(), report.trained);
  EXPECT_TRUE(set.masked());
  EXPECT_EQ(set.tokenizer(), test_tokenizer()->fingerprint());
  for (int64_t d = 0; d < 12; ++d) {
    Ids ids(static_cast<size_t>(set.length(d)));
    std::vector<uint8_t> counts(ids.size());
    set.copy(set.begin_of(d), set.length(d), ids.data(), counts.data());
    EXPECT_EQ(ids.back(), test_tokenizer()->special().eos);
    EXPECT_EQ(test_tokenizer()->decode(ids, true).substr(0, 13), "the lazy dog ");
  }
  // Across shards in one piece.
  Ids all(static_cast<size_t>(set.tokens()));
  std::vector<uint8_t> counts(all.size());
  set.copy(0, set.tokens(), all.data(), counts.data());
  EXPECT_EQ(std::count(counts.begin(), counts.end(), uint8_t{1}), set.trained());
}

TEST(Prepare, AnInterruptedRunGoesOnWhereItWas) {
  TestFolder folder("prepare_resume");
  write_books(folder, 12);
  prepare_data(options_for(folder), test_tokenizer().get());
  const auto whole = contents(folder.path("out"));
  // As a kill after the second shard leaves it: two shards in the manifest, a third written but not noted.
  nlohmann::json manifest = nlohmann::json::parse(read_file(folder.path("out/prepare.json")));
  for (size_t i = 3; i < manifest["shards"].size(); ++i) {
    remove_file(folder.path("out/" + manifest["shards"][i]["name"].get<std::string>()));
  }
  manifest["shards"].erase(manifest["shards"].begin() + 2, manifest["shards"].end());
  manifest["done"] = false;
  write_file(folder.path("out/prepare.json"), manifest.dump());
  EXPECT_THROW(TokenSet::open(folder.path("out")), Error);
  const PrepareReport report = prepare_data(options_for(folder), test_tokenizer().get());
  EXPECT_GT(report.resumed, 0);
  EXPECT_LT(report.resumed, report.documents);
  EXPECT_EQ(contents(folder.path("out")), whole);
  // Again: everything is there.
  EXPECT_EQ(prepare_data(options_for(folder), test_tokenizer().get()).resumed, 14);
}

TEST(Prepare, AFolderMadeOtherwiseIsNotTouched) {
  TestFolder folder("prepare_other");
  write_books(folder, 2);
  prepare_data(options_for(folder), test_tokenizer().get());
  const auto before = contents(folder.path("out"));
  PrepareOptions other = options_for(folder);
  other.tokenize.end = false;
  EXPECT_THROW(prepare_data(other, test_tokenizer().get()), Error);
  EXPECT_EQ(contents(folder.path("out")), before);
}

TEST(Prepare, NothingToTrainIsAnError) {
  TestFolder folder("prepare_masked");
  folder.write("in/a.jsonl", "{\"ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n");
  PrepareOptions options = options_for(folder);
  EXPECT_THROW(prepare_data(options, nullptr), Error);
  options.vocabulary = 10;
  EXPECT_THROW(prepare_data(options, nullptr), Error);
  options.out = folder.path("all");
  options.source.record.train_all = true;
  EXPECT_EQ(prepare_data(options, nullptr).trained, 3);
  options.out = folder.path("small");
  options.vocabulary = 3;
  EXPECT_THROW(prepare_data(options, nullptr), Error);
}

}  // namespace
}  // namespace mneme
