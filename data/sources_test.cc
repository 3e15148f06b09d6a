#include "data/sources.h"

#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>

#include "base/error.h"
#include "data/line_reader.h"
#include "data/testing.h"

namespace mneme {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream = {};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {  // with the checksum that the zstd program writes
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

template <class Word>
std::string raw(const std::vector<Word>& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(Word)};
}

template <class Word>
std::string llmc(int32_t magic, int32_t version, const std::vector<Word>& words) {
  std::vector<int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = static_cast<int32_t>(words.size());
  return raw(header) + raw(words);
}

std::vector<Document> documents(const std::string& path, const SourceOptions& options = {},
                                int64_t skip = 0) {
  std::vector<Document> all;
  for (const SourceFile& file : find_sources(path, options)) {
    const auto reader = open_documents(file, options);
    reader->skip(skip);
    for (RawDocument raw; reader->next(raw);) all.push_back(finish(std::move(raw), options));
  }
  return all;
}

std::vector<std::string> texts(const std::string& path, const SourceOptions& options = {}, int64_t skip = 0) {
  std::vector<std::string> all;
  for (const Document& document : documents(path, options, skip)) all.push_back(document.text);
  return all;
}

using testing::ElementsAre;
using Ids = std::vector<int32_t>;

TEST(Sources, TextFilesAndFoldersOfThem) {
  TestFolder folder("sources_text");
  folder.write("b.txt", "second\n");
  folder.write("a/a.txt",
               "\xEF\xBB\xBF"
               "first");
  folder.write("notes.log", "not data");
  EXPECT_THAT(texts(folder.path()), ElementsAre("first", "second\n"));
  SourceOptions split;
  split.separator = "<|endoftext|>";
  folder.write("b.txt", "one<|endoftext|>\n<|endoftext|>two");
  EXPECT_THAT(texts(folder.path("b.txt"), split), ElementsAre("one", "two"));
  EXPECT_THAT(texts(folder.path("b.txt"), split, 1), ElementsAre("two"));
}

TEST(Sources, JsonLinesPlainAndCompressed) {
  TestFolder folder("sources_json");
  const std::string lines = "{\"text\": \"a\"}\r\n\n{\"text\": \"b\"}\n{\"text\": \"c\"}";
  folder.write("plain.jsonl", lines);
  folder.write("packed.jsonl.gz", gzip(lines) + gzip("\n{\"text\": \"d\"}"));
  folder.write("packed.jsonl.zst", zstd(lines) + zstd("\n{\"text\": \"d\"}"));
  EXPECT_THAT(texts(folder.path("plain.jsonl")), ElementsAre("a", "b", "c"));
  EXPECT_THAT(texts(folder.path("plain.jsonl"), {}, 2), ElementsAre("c"));
  EXPECT_THAT(texts(folder.path("packed.jsonl.gz")), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(texts(folder.path("packed.jsonl.zst")), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(find_sources(folder.path("packed.jsonl.zst"), {})[0].description, "JSON lines (text), zstd");
  folder.write("mixed.jsonl", "{\"text\": \"a\"}\n{\"tex\": \"b\"}");
  try {
    texts(folder.path("mixed.jsonl"));
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("mixed.jsonl:2"));
  }
}

TEST(Sources, ListsNameFilesRelativeToThem) {
  TestFolder folder("sources_list");
  folder.write("texts/b.txt", "second");
  folder.write("a.jsonl", "{\"text\": \"first\"}");
  EXPECT_THAT(texts(folder.write("all.list", "a.jsonl\n\ntexts/b.txt\n")), ElementsAre("first", "second"));
  EXPECT_THROW(texts(folder.write("none.list", "\n")), Error);
  EXPECT_THROW(texts(folder.write("wrong.list", "absent.txt\n")), Error);
}

TEST(Sources, DamagedCompressionIsAnError) {
  TestFolder folder("sources_damaged");
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += std::to_string(i * 7919 % 10007) + " ";
  for (const auto& [name, bytes] : {std::pair("a.txt.gz", gzip(lines)), {"a.txt.zst", zstd(lines)}}) {
    folder.write(name, bytes.substr(0, bytes.size() - 4));
    EXPECT_THROW(texts(folder.path(name)), Error) << name;
    std::string broken = bytes;
    broken[broken.size() / 2] = static_cast<char>(broken[broken.size() / 2] ^ 0x55);
    folder.write(name, broken);
    EXPECT_THROW(texts(folder.path(name)), Error) << name;
  }
}

TEST(Sources, TokenFilesOfNanoGpt) {
  TestFolder folder("sources_nanogpt");
  SourceOptions options;
  options.end_id = 9;
  folder.write("train.bin", raw<uint16_t>({1, 2, 9, 3, 9, 65535}));
  const auto read = documents(folder.path("train.bin"), options);
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[0].ids, (Ids{1, 2, 9}));
  EXPECT_EQ(read[1].ids, (Ids{3, 9}));
  EXPECT_EQ(read[2].ids, (Ids{65535}));
  EXPECT_EQ(documents(folder.path("train.bin"), options, 2)[0].ids, (Ids{65535}));
  EXPECT_EQ(find_sources(folder.path("train.bin"), {})[0].description, "tokens of nanoGPT, raw 16-bit ids");
  folder.write("train.bin", "abc");
  EXPECT_THROW(documents(folder.path("train.bin")), Error);
}

TEST(Sources, TokenFilesOfLlmC) {
  TestFolder folder("sources_llmc");
  folder.write("old.bin", llmc<uint16_t>(20240520, 1, {50256, 1, 2, 50256, 3}));
  const auto narrow = documents(folder.path("old.bin"));
  ASSERT_EQ(narrow.size(), 2U);
  EXPECT_EQ(narrow[0].ids, (Ids{50256, 1, 2}));
  EXPECT_EQ(narrow[1].ids, (Ids{50256, 3}));
  folder.write("new.bin", llmc<uint32_t>(20240801, 7, {128000, 100000, 128000, 5}));
  const auto wide = documents(folder.path("new.bin"));
  ASSERT_EQ(wide.size(), 2U);
  EXPECT_EQ(wide[0].ids, (Ids{128000, 100000}));
  EXPECT_EQ(documents(folder.path("new.bin"), {}, 1)[0].ids, (Ids{128000, 5}));
  // A header that promises more than there is.
  std::string cut = llmc<uint16_t>(20240520, 1, {50256, 1, 2});
  cut.resize(cut.size() - 2);
  folder.write("cut.bin", cut);
  EXPECT_THROW(documents(folder.path("cut.bin")), Error);
}

TEST(Sources, WhatIsNoDataIsRefused) {
  TestFolder folder("sources_none");
  folder.write("a.dat", std::string("\x00\x01\x02", 3));
  EXPECT_THROW(find_sources(folder.path("a.dat"), {}), Error);
  EXPECT_THROW(find_sources(folder.path(), {}), Error);
  EXPECT_THROW(find_sources(folder.path("missing"), {}), Error);
  folder.write("a.jsonl", "{\"text\": ");
  EXPECT_THROW(find_sources(folder.path("a.jsonl"), {}), Error);
}

TEST(LineReader, LongLinesAreBoundedAndCounted) {
  TestFolder folder("lines");
  const std::string text = std::string(400000, 'a') + "\n\nb";
  folder.write("a", text);
  LineReader lines(folder.path("a"));
  std::string line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line.size(), 400000U);
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "b");
  EXPECT_EQ(lines.number(), 3);
  EXPECT_FALSE(lines.next(line));
  LineReader bounded(folder.path("a"), 1000);
  EXPECT_THROW(bounded.next(line), Error);
  EXPECT_THROW(read_whole(folder.path("a"), 1000), Error);
  EXPECT_EQ(read_whole(folder.path("a"), 1000000), text);
}

}  // namespace
}  // namespace mneme
