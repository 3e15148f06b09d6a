// Every expected vector of the shared tokenizers: ids, ids with special tokens, decoded text, the decoding of
// every prefix, and that a stream shows the same text without ever showing a broken character.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace mneme {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::string shared_folder() {
  const char* named = std::getenv("MNEME_SHARED");
  return named ? named : "../shared";
}

std::string data(const std::string& name) { return shared_folder() + "/data/" + name; }

json read_json(const std::string& path) { return json::parse(read_file(path)); }

const std::vector<std::string>& strings() {
  static const auto all = read_json(data("tokenizers/strings.json")).get<std::vector<std::string>>();
  return all;
}

class TokenizerVectors : public testing::Test {
 protected:
  void SetUp() override {
    if (!file_exists(data("tokenizers/strings.json"))) GTEST_SKIP() << "no shared data";
  }
};

void expect_stream(const Tokenizer& t, const Ids& ids, bool skip_special, const std::string& whole) {
  StreamDecoder stream = t.stream(skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = stream.push(id);
    EXPECT_TRUE(is_utf8(part));
    text += part;
    EXPECT_TRUE(whole.starts_with(text)) << text << " | " << whole;
  }
  EXPECT_EQ(text + stream.finish(), whole);
}

void expect_cases(const Tokenizer& t, const json& expected, bool streams = true) {
  for (const json& c : expected["cases"]) {
    const auto i = c["i"].get<size_t>();
    const std::string& text = strings().at(i);
    SCOPED_TRACE(t.source() + " case " + std::to_string(i) + " " + json(text).dump(-1, ' ', true));
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(t.encode(text, false), ids);
    const Ids with_special = c.contains("ids_with_special") ? c["ids_with_special"].get<Ids>() : ids;
    if (c.contains("ids_with_special")) {
      EXPECT_EQ(t.encode(text, true), with_special);
    }
    if (c.contains("decoded")) {
      EXPECT_EQ(t.decode(ids, false), c["decoded"].get<std::string>());
      if (streams) expect_stream(t, ids, false, c["decoded"].get<std::string>());
    }
    if (c.contains("decoded_skip_special")) {
      const auto decoded = c["decoded_skip_special"].get<std::string>();
      EXPECT_EQ(t.decode(with_special, true), decoded);
      if (streams) expect_stream(t, with_special, true, decoded);
    }
  }
  if (!expected.contains("prefix_decodes")) return;
  for (const json& p : expected["prefix_decodes"]) {
    const auto ids = p["ids"].get<Ids>();
    for (size_t n = 1; n <= ids.size(); ++n) {
      EXPECT_EQ(t.decode(std::span(ids).first(n), false), p["decoded_prefixes"][n - 1].get<std::string>())
          << t.source() << " " << p["text"] << " " << n;
    }
  }
}

TEST_F(TokenizerVectors, HuggingFace) {
  for (const char* name : {"barthez-spm", "gpt2", "llama2", "llama3", "minilm-bert", "openllama", "opt",
                           "phi-3", "pythia", "qwen2", "smollm2", "t5-small-unigram", "unigram-xlmr-style"}) {
    SCOPED_TRACE(name);
    const std::string folder = data(std::string("tokenizers/") + name);
    const auto t = load_tokenizer(folder);
    const json expected = read_json(folder + "/expected.json");
    expect_cases(*t, expected);
    EXPECT_EQ(t->vocab_size(), expected["vocab_size_with_added"].get<int32_t>());
  }
}

TEST_F(TokenizerVectors, SentencePiece) {
  for (const auto& [name, file] : std::map<std::string, std::string>{
           {"tokenizers/barthez-spm", "sentencepiece.bpe.model"},
           {"tokenizers/llama2", "tokenizer.model"},
           {"tokenizers/openllama", "tokenizer.model"},
           {"tokenizers/unigram-xlmr-style", "sentencepiece.bpe.model"},
           {"models/stories260K", "tokenizer.model"},
       }) {
    const auto t = load_tokenizer(data(name + "/" + file));
    expect_cases(*t, read_json(data(name + "/expected_sentencepiece.json")));
  }
}

TEST_F(TokenizerVectors, Stories) {
  const auto t = load_tokenizer(data("models/stories260K"));
  expect_cases(*t, read_json(data("models/stories260K/expected_tokenizer.json")));
  EXPECT_EQ(t->special().bos, 1);
  EXPECT_EQ(t->special().eos, 2);
}

TEST_F(TokenizerVectors, Cl100k) {
  const auto t = load_tokenizer(data("tokenizers/cl100k/cl100k_base.tiktoken"));
  expect_cases(*t, read_json(data("tokenizers/cl100k/expected.json")));
  EXPECT_EQ(t->encode("<|endoftext|>", false, SpecialText::parsed), Ids{100257});
  for (const std::string& text : strings()) EXPECT_EQ(t->decode(t->encode(text, false), false), text);
}

TEST_F(TokenizerVectors, Llama3Ranks) {
  const auto ranks = load_tokenizer(data("tokenizers/llama3/tokenizer.model"));
  const auto t = load_tokenizer(data("tokenizers/llama3"));
  expect_cases(*ranks, read_json(data("tokenizers/llama3/expected.json")));
  EXPECT_EQ(ranks->vocab_size(), t->vocab_size());
  for (int32_t id = 128000; id < t->vocab_size(); ++id) EXPECT_EQ(ranks->piece_of(id), t->piece_of(id));
  EXPECT_EQ(ranks->fingerprint(), t->fingerprint());
}

TEST_F(TokenizerVectors, VocabAndMerges) {
  for (const char* name : {"gpt2", "qwen2"}) {
    const std::string folder = data(std::string("tokenizers/") + name);
    expect_cases(*load_tokenizer(folder + "/vocab.json"), read_json(folder + "/expected.json"));
  }
}

TEST_F(TokenizerVectors, BertVocabulary) {
  const std::string folder = data("tokenizers/minilm-bert");
  expect_cases(*load_tokenizer(folder + "/vocab.txt"), read_json(folder + "/expected.json"));
}

std::vector<std::string> read_gguf_texts(const std::string& path) {
  static const std::string kMark = "\n__ggml_vocab_test__\n";
  std::string text = read_file(path);
  std::vector<std::string> out;
  for (size_t at; (at = text.find(kMark)) != std::string::npos; text.erase(0, at + kMark.size())) {
    out.push_back(text.substr(0, at));
  }
  if (!text.empty()) out.push_back(text);
  return out;
}

void expect_gguf_vectors(const Tokenizer& t, const std::string& stem) {
  const std::vector<std::string> texts = read_gguf_texts(stem + ".inp");
  std::istringstream lines(read_file(stem + ".out"));
  size_t n = 0;
  for (std::string line; std::getline(lines, line) && n < texts.size(); ++n) {
    std::istringstream numbers(line);
    Ids ids;
    for (int32_t id; numbers >> id;) ids.push_back(id);
    EXPECT_EQ(t.encode(texts[n], false), ids) << stem << " " << json(texts[n]).dump(-1, ' ', true);
  }
  EXPECT_EQ(n, texts.size());
  EXPECT_GE(n, 46u);
}

TEST_F(TokenizerVectors, Gguf) {
  for (const char* name :
       {"bert-bge", "deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-spm", "phi-3"}) {
    const std::string stem = data(std::string("tokenizers/gguf/ggml-vocab-") + name + ".gguf");
    expect_gguf_vectors(*load_tokenizer(stem), stem);
  }
  EXPECT_EQ(load_tokenizer(data("tokenizers/gguf/ggml-vocab-gpt-neox.gguf"))->vocab_size(), 50432);
}

TEST_F(TokenizerVectors, GgufTextsWithOtherFiles) {
  const std::map<std::string, std::string> same = {{"llama-bpe", "llama3"},
                                                   {"qwen2", "qwen2"},
                                                   {"gpt-2", "gpt2"},
                                                   {"llama-spm", "llama2"},
                                                   {"phi-3", "phi-3"}};
  for (const auto& [gguf, name] : same) {
    expect_gguf_vectors(*load_tokenizer(data("tokenizers/" + name)),
                        data("tokenizers/gguf/ggml-vocab-" + gguf + ".gguf"));
  }
}

// The same vocabulary from a GGUF file and from tokenizer.json gives the same ids and text.
TEST_F(TokenizerVectors, GgufAgainstJson) {
  const std::map<std::string, std::string> same = {
      {"gpt-2", "gpt2"}, {"llama-spm", "llama2"}, {"phi-3", "phi-3"}};
  for (const auto& [gguf, name] : same) {
    const auto a = load_tokenizer(data("tokenizers/gguf/ggml-vocab-" + gguf + ".gguf"));
    const auto b = load_tokenizer(data("tokenizers/" + name));
    for (const std::string& text : strings()) {
      const Ids ids = b->encode(text, false);
      EXPECT_EQ(a->encode(text, false), ids) << name << json(text).dump(-1, ' ', true);
      EXPECT_EQ(a->decode(ids, true), b->decode(ids, true)) << name << json(text).dump(-1, ' ', true);
    }
  }
}

}  // namespace
}  // namespace mneme
