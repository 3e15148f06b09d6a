// The file formats, from small files made here: what they mean, and that damaged ones are refused with words.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/gguf_metadata.h"
#include "text/byte_glyphs.h"
#include "text/split_scanner.h"
#include "text/tiktoken.h"
#include "text/tokenizer.h"

namespace mneme {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const std::string kMark = "\xE2\x96\x81";

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "mneme_text_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, std::string_view bytes) const {
    write_file(path_ + "/" + name, bytes);
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input) << e.message();
    return e.message();
  }
  return "";
}

// GPT-2's files with three merges.
json byte_vocab() {
  json vocab = json::object();
  for (int b = 0; b < 256; ++b) vocab[std::string(glyph_of_byte(static_cast<uint8_t>(b)))] = b;
  vocab["ab"] = 256;
  vocab
      ["\xC4\xA0"
       "ab"] = 257;
  vocab["<|endoftext|>"] = 258;
  return vocab;
}

constexpr const char* kMerges = "#version: 0.2\na b\n\xC4\xA0 ab\n";

TEST(TokenizerFiles, Gpt2) {
  const Folder folder;
  folder.write("vocab.json", byte_vocab().dump());
  folder.write("merges.txt", kMerges);
  for (const std::string& path :
       {folder.path(), folder.path() + "/vocab.json", folder.path() + "/merges.txt"}) {
    const auto t = load_tokenizer(path);
    EXPECT_EQ(t->encode("ab ab<|endoftext|>", false), (Ids{256, 257, 258}));
    EXPECT_EQ(t->encode("<|endoftext|>", false, SpecialText::plain).size(), 13u);
    EXPECT_EQ(t->special().eos, 258);
    EXPECT_EQ(t->vocab_size(), 259);
    EXPECT_EQ(t->id_of("ab"), 256);
    EXPECT_EQ(t->piece_of(257),
              "\xC4\xA0"
              "ab");
    EXPECT_FALSE(t->piece_of(259));
    EXPECT_TRUE(t->is_special(258));
    EXPECT_EQ(t->decode(Ids{256, 258, 1000, -1}, true), "ab");
  }
  folder.write("merges.txt", "a b\na c\n");
  EXPECT_NE(message_of([&] { load_tokenizer(folder.path()); }).find("merge 1 is 'a c'"), std::string::npos);
}

TEST(TokenizerFiles, ConfigurationBesideTheVocabulary) {
  const Folder folder;
  folder.write("vocab.json", byte_vocab().dump());
  folder.write("merges.txt", kMerges);
  folder.write("added_tokens.json", R"({"<x>": 259})");
  folder.write(
      "tokenizer_config.json",
      R"({"add_bos_token": true, "bos_token": {"content": "<x>"}, "eos_token": "<|endoftext|>", "pad_token": null,
                   "added_tokens_decoder": {"260": {"content": "<y>", "rstrip": true, "special": true}},
                   "chat_template": [{"name": "default", "template": "T"}]})");
  const auto t = load_tokenizer(folder.path());
  EXPECT_EQ(t->encode("<y> a", true), (Ids{259, 260, 'a'}));
  EXPECT_EQ(t->special().bos, 259);
  EXPECT_EQ(t->special().eos, 258);
  EXPECT_EQ(t->chat_template(), "T");
}

TEST(TokenizerFiles, Fairseq) {
  const Folder folder;
  folder.write("encoder.json", byte_vocab().dump());
  folder.write("vocab.bpe", kMerges);
  std::string dict = "257 900\n256 800\n";  // the most frequent first
  for (int i = 0; i < 256; ++i) dict += std::to_string(i) + " 1\n";
  dict += "258 1\nmadeupword0000 0\n";
  folder.write("dict.txt", dict);
  const auto t = load_tokenizer(folder.path());
  EXPECT_EQ(t->encode(" abab", false), (Ids{4, 5}));
  EXPECT_EQ(t->encode("a", true), (Ids{0, 6 + 'a', 2}));
  EXPECT_EQ(t->encode("<s>", false).size(), 3u);  // nothing is a special token
  EXPECT_EQ(t->decode(Ids{0, 4, 1, 263, 5, 2}, false), " abab");
  EXPECT_EQ(t->vocab_size(), 4 + 259 + 1);
  EXPECT_EQ(t->special().bos, 0);
  EXPECT_EQ(t->special().pad, 1);
  folder.write("dict.txt", "999999 1\n");
  EXPECT_NE(message_of([&] { load_tokenizer(folder.path()); }).find("999999"), std::string::npos);
  folder.write("dict.txt", "1 1\n");
  EXPECT_NE(message_of([&] { load_tokenizer(folder.path()); }).find("lacks"), std::string::npos);
}

std::string base64(const std::string& bytes) {
  static const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k)
      v = v << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : kDigits[v >> (18 - 6 * k) & 63];
  }
  return out;
}

TEST(TokenizerFiles, Tiktoken) {
  std::string ranks;
  for (int b = 0; b < 256; ++b)
    ranks += base64(std::string(1, static_cast<char>(b))) + " " + std::to_string(b) + "\n";
  ranks += base64("ab") + " 256\n" + base64("abc") + " 257\n" + base64("xyz") + " 258\n";
  const TiktokenEncoding encoding = {kGpt2Pattern, {{"<end>", 300}}, "<end>", "<end>"};
  const Tokenizer t(parse_tiktoken(ranks, encoding, "ranks"));
  EXPECT_EQ(t.encode("abc ab", false), (Ids{257, ' ', 256}));
  EXPECT_EQ(t.encode("xyz", false), (Ids{258}));  // a whole piece, though no merge leads to it
  EXPECT_EQ(t.encode("xyzz", false), (Ids{'x', 'y', 'z', 'z'}));
  EXPECT_EQ(t.encode("<end>", false).size(), 5u);
  EXPECT_EQ(t.encode("<end>", false, SpecialText::parsed), (Ids{300}));
  EXPECT_EQ(t.vocab_size(), 301);
  EXPECT_NE(message_of([&] { parse_tiktoken(ranks, "ranks"); }).find("259 ranks"), std::string::npos);
  for (const char* bad : {"!! 1\n", "YQ==\n", "YQ== x\n", "YQ== -1\n", " 1\n", "YQ== 99999999999\n"}) {
    EXPECT_NE(message_of([&] { parse_tiktoken(bad, encoding, "ranks"); }).find("line 1"), std::string::npos)
        << bad;
  }
  EXPECT_NE(message_of([&] { parse_tiktoken("YQ== 0\nYg== 0\n", encoding, "ranks"); }), "");
  EXPECT_NE(message_of([&] { parse_tiktoken("YQ== 0\nYQ== 1\n", encoding, "ranks"); }), "");
}

// The wire format of a SentencePiece model.
std::string varint(uint64_t v) {
  std::string out;
  for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
  return out + static_cast<char>(v);
}
std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string bytes(int field, const std::string& value) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(value.size()) + value;
}
std::string piece(const std::string& text, float score, int type = 1) {
  std::string raw(4, '\0');
  std::memcpy(raw.data(), &score, 4);
  return bytes(1, bytes(1, text) + varint(2 << 3 | 5) + raw + number(3, static_cast<uint64_t>(type)));
}

std::string spm_model(int type, bool byte_fallback = false) {
  std::string out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("[U]", 0, 4);
  int rank = 0;
  for (const std::string& text :
       {kMark + "ab", std::string("ab"), kMark, std::string("a"), std::string("b"), std::string("c")}) {
    out += piece(text, static_cast<float>(--rank));
  }
  if (byte_fallback) {
    for (unsigned b = 0; b < 256; ++b) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", b);
      out += piece(name, 0, 6);
    }
  }
  return out + bytes(2, number(3, static_cast<uint64_t>(type)) + number(35, byte_fallback)) +
         bytes(3, number(4, 0));
}

TEST(TokenizerFiles, SentencePiece) {
  for (const int type : {1, 2}) {
    const Tokenizer t(parse_sentencepiece(spm_model(type), "m"));
    EXPECT_EQ(t.encode("ab ab", false), (Ids{4, 4})) << type;
    EXPECT_EQ(t.encode("abxyc", true), (Ids{1, 4, 0, 9})) << type;
    EXPECT_EQ(t.encode("a[U]b", false), (Ids{6, 7, 3, 8})) << type;
    EXPECT_EQ(t.encode("<s>", false), (Ids{6, 0})) << type;  // control pieces are ordinary text
    EXPECT_EQ(t.encode("", true), (Ids{1}));
    EXPECT_EQ(t.decode(Ids{1, 4, 6, 9, 0, 2}, false), "ab c \xE2\x81\x87 ");
    EXPECT_EQ(t.special().unk, 0);
  }
  const Tokenizer t(parse_sentencepiece(spm_model(2, true), "m"));
  EXPECT_EQ(t.encode("a\xC3\xA9", false), (Ids{6, 7, 10 + 0xC3, 10 + 0xA9}));
  EXPECT_EQ(t.decode(Ids{6, 7, 10 + 0xC3, 10 + 0xA9}, false), "a\xC3\xA9");
  EXPECT_EQ(t.encode("\xFF", false), (Ids{6, 10 + 0xEF, 10 + 0xBF, 10 + 0xBD}));
}

TEST(TokenizerFiles, SentencePieceUnusedPiecesAreTakenApart) {
  std::string model = piece("<unk>", 0, 2) + piece("a", -3) + piece("b", -3) + piece("c", -3) +
                      piece("ab", -1, 5) + piece("abc", -2) + piece(kMark, -4);
  model += bytes(2, number(3, 2)) + bytes(3, number(3, 0) + number(4, 0));
  const Tokenizer t(parse_sentencepiece(model, "m"));
  EXPECT_EQ(t.encode("ab", false), (Ids{1, 2}));
  EXPECT_EQ(t.encode("abc", false), (Ids{5}));
  EXPECT_EQ(t.encode("ababc", false), (Ids{1, 2, 5}));
}

TEST(TokenizerFiles, SentencePieceDamage) {
  const std::string whole = spm_model(1, true);
  int refused = 0;
  for (size_t n = 0; n < whole.size(); n += 7) {
    refused += !message_of([&] { parse_sentencepiece(std::string_view(whole).substr(0, n), "m"); }).empty();
  }
  EXPECT_GT(refused, 100);
  const auto refuses = [](const std::string& model) {
    return !message_of([&] { parse_sentencepiece(model, "m"); }).empty();
  };
  EXPECT_TRUE(refuses(""));
  EXPECT_TRUE(refuses(piece("a", std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(refuses(piece("a", 0, 9)));
  EXPECT_TRUE(refuses(piece("\xFF", 0, 2)));
  EXPECT_TRUE(refuses(piece("<unk>", 0, 2) + bytes(2, number(3, 3))));  // word models
  EXPECT_TRUE(refuses(piece("<unk>", 0, 2) + piece("<0x1>", 0, 6)));    // a byte piece without a byte
  EXPECT_TRUE(refuses(piece("<unk>", 0, 2) + bytes(3, bytes(2, "\x08\0\0\0abc"))));  // a broken character map
}

// A GGUF file of metadata.
template <class T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}
std::string gstring(const std::string& s) { return raw<uint64_t>(s.size()) + s; }

struct GgufWriter {
  std::string pairs;
  uint64_t count = 0;
  GgufWriter& add(const std::string& key, GgufType type, const std::string& value) {
    pairs += gstring("tokenizer." + key) + raw(static_cast<uint32_t>(type)) + value;
    ++count;
    return *this;
  }
  GgufWriter& text(const std::string& key, const std::string& value) {
    return add(key, GgufType::string, gstring(value));
  }
  GgufWriter& id(const std::string& key, uint32_t value) { return add(key, GgufType::u32, raw(value)); }
  GgufWriter& texts(const std::string& key, const std::vector<std::string>& list) {
    std::string value = raw(static_cast<uint32_t>(GgufType::string)) + raw<uint64_t>(list.size());
    for (const std::string& s : list) value += gstring(s);
    return add(key, GgufType::array, value);
  }
  template <class T>
  GgufWriter& numbers(const std::string& key, GgufType type, const std::vector<T>& list) {
    std::string value = raw(static_cast<uint32_t>(type)) + raw<uint64_t>(list.size());
    for (const T v : list) value += raw(v);
    return add(key, GgufType::array, value);
  }
  std::string file() const { return "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(0) + raw(count) + pairs; }
};

TEST(TokenizerFiles, GgufBytePairs) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(glyph_of_byte(static_cast<uint8_t>(b)));
  tokens.insert(tokens.end(), {"ab", "<end>", "<user>"});
  std::vector<int32_t> types(259, 1);
  types[257] = 3;
  types[258] = 4;
  GgufWriter w;
  w.text("ggml.model", "gpt2").text("ggml.pre", "gpt-2").texts("ggml.tokens", tokens);
  w.numbers("ggml.token_type", GgufType::i32, types)
      .texts("ggml.merges", {"a b"})
      .id("ggml.bos_token_id", 257);
  w.add("ggml.add_bos_token", GgufType::boolean, raw<uint8_t>(1)).text("chat_template", "hello");
  const Folder folder;
  const auto t = load_tokenizer(folder.write("m.gguf", w.file()));
  EXPECT_EQ(t->encode("ab<end><user>", true), (Ids{257, 256, 257, 258}));
  EXPECT_EQ(t->decode(Ids{257, 256, 258}, true), "ab<user>");
  EXPECT_EQ(t->chat_template(), "hello");
  EXPECT_EQ(load_tokenizer(folder.path())->vocab_size(), 259);  // the only tokenizer of the folder
  GgufWriter unknown = w;
  unknown.count = 0;
  unknown.pairs.clear();
  unknown.text("ggml.model", "gpt2")
      .text("ggml.pre", "mystery")
      .texts("ggml.tokens", tokens)
      .texts("ggml.merges", {});
  EXPECT_NE(message_of([&] { load_tokenizer(folder.write("m.gguf", unknown.file())); }).find("'mystery'"),
            std::string::npos);
}

TEST(TokenizerFiles, GgufSentencePiece) {
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", kMark + "a", "a", kMark, "<u>"};
  const std::vector<float> scores = {0, 0, 0, -1, -2, -3, 0};
  const std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 4};
  for (const char* model : {"llama", "t5"}) {
    GgufWriter w;
    w.text("ggml.model", model).texts("ggml.tokens", tokens);
    w.numbers("ggml.scores", GgufType::f32, scores).numbers("ggml.token_type", GgufType::i32, types);
    const std::string file = w.file();
    const Tokenizer t(parse_gguf_tokenizer(GgufMetadata::parse(file, "m"), "m"));
    EXPECT_EQ(t.encode("a a</s>a<u>", false), (Ids{3, 3, 2, 3, 6})) << model;
    EXPECT_EQ(t.decode(Ids{1, 3, 3}, true), "a a");
    EXPECT_EQ(t.decode(Ids{3, 2}, false), "a</s>");
  }
  GgufWriter w;
  w.text("ggml.model", "llama").texts("ggml.tokens", tokens);
  const std::string file = w.file();
  EXPECT_NE(message_of([&] { parse_gguf_tokenizer(GgufMetadata::parse(file, "m"), "m"); }).find("scores"),
            std::string::npos);
  GgufWriter rwkv;
  rwkv.text("ggml.model", "rwkv");
  const std::string other = rwkv.file();
  EXPECT_NE(message_of([&] { parse_gguf_tokenizer(GgufMetadata::parse(other, "m"), "m"); }).find("'rwkv'"),
            std::string::npos);
}

TEST(TokenizerFiles, BertVocabulary) {
  const Folder folder;
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhe\n##llo\n!\n");
  const auto t = load_tokenizer(folder.path());
  EXPECT_EQ(t->encode("H\xC3\xA9llo! x", true), (Ids{2, 4, 5, 6, 1, 3}));
  EXPECT_EQ(t->decode(Ids{2, 4, 5, 6, 3}, true), "hello!");
  EXPECT_THROW(parse_bert_vocab("a\nb\n", true, "v"), Error);
}

std::string tiny_json(const std::function<void(json&)>& change) {
  json t = json::parse(
      R"({"version":"1.0","added_tokens":[{"id":3,"content":"<e>","special":true}],"normalizer":null,
    "pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":null,"decoder":null,
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"unk_token":null}})");
  change(t);
  return t.dump();
}

TEST(TokenizerFiles, TokenizerJson) {
  const Tokenizer t(parse_tokenizer_json(tiny_json([](json&) {}), "t"));
  EXPECT_EQ(t.encode("ab a<e>b", false), (Ids{2, 0, 3, 1}));
  EXPECT_EQ(t.decode(Ids{2, 3, 0}, false), "ab <e> a");
  EXPECT_EQ(t.decode(Ids{2, 3, 0}, true), "ab a");
  // Merges as pairs, and models without a type.
  const Tokenizer pairs(parse_tokenizer_json(tiny_json([](json& j) {
                                               j["model"]["merges"] = json::parse(R"([["a","b"]])");
                                               j["model"].erase("type");
                                             }),
                                             "t"));
  EXPECT_EQ(pairs.encode("ab", false), (Ids{2}));
  EXPECT_EQ(pairs.fingerprint(), t.fingerprint());
  const Tokenizer levels(parse_tokenizer_json(
      tiny_json([](json& j) { j["model"] = json::parse(R"({"vocab":{"ab":0,"?":1},"unk_token":"?"})"); }),
      "t"));
  EXPECT_EQ(levels.encode("ab cd", false), (Ids{0, 1}));
  EXPECT_NE(levels.fingerprint(), t.fingerprint());
}

TEST(TokenizerFiles, TokenizerJsonDamage) {
  const auto message = [](const std::function<void(json&)>& change) {
    return message_of([&] { parse_tokenizer_json(tiny_json(change), "t.json"); });
  };
  EXPECT_NE(message([](json& j) { j["model"]["type"] = "Oracle"; }).find("'Oracle'"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["model"]["merges"] = {"a c"}; }).find("'c'"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["model"]["merges"] = {"a"}; }).find("two pieces"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["model"]["vocab"]["b"] = -1; }).find("id -1"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["model"]["vocab"]["b"] = 1 << 30; }).find("id"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["model"]["vocab"]["b"] = 0; }).find("second piece"), std::string::npos);
  EXPECT_NE(message([](json& j) { j.erase("model"); }).find("no 'model'"), std::string::npos);
  EXPECT_NE(message([](json& j) { j["added_tokens"][0]["id"] = "x"; }).find("id"), std::string::npos);
  EXPECT_NE(message([](json& j) {
              j["model"] = {{"type", "Unigram"}, {"vocab", json::array()}, {"unk_id", 3}};
            }).find("unk_id"),
            std::string::npos);
  const std::string whole = tiny_json([](json&) {});
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(message_of([&] { parse_tokenizer_json(std::string_view(whole).substr(0, n), "t"); }), "") << n;
  }
  EXPECT_NE(message_of([&] { parse_tokenizer_json(std::string(100000, '['), "t"); }), "");
  EXPECT_NE(message_of([&] { parse_tokenizer_json(R"({"normalizer":)" + std::string(100000, '['), "t"); }),
            "");
  EXPECT_NE(message_of([&] { parse_tokenizer_json("\xFF", "t"); }).find("UTF-8"), std::string::npos);
}

TEST(TokenizerFiles, ClearWordsForWhatIsNoTokenizer) {
  const Folder folder;
  EXPECT_NE(message_of([&] { load_tokenizer(folder.path()); }).find("no tokenizer in this folder"),
            std::string::npos);
  EXPECT_NE(message_of([&] { load_tokenizer(folder.path() + "/none"); }).find("no such file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { load_tokenizer(folder.write("a.bin", "x")); }).find("unknown kind"),
            std::string::npos);
  EXPECT_NE(message_of([&] { load_tokenizer(folder.write("vocab.json", "{}")); }).find("merges.txt"),
            std::string::npos);
}

// A vocabulary trained on Alice in Wonderland, with the ids that a separate program gave.
TEST(TokenizerFiles, Alice) {
  const auto t = load_tokenizer("testdata/tokenizers/alice");
  const json cases = json::parse(read_file("testdata/tokenizers/alice/expected.json"));
  ASSERT_GT(cases.size(), 30u);
  for (const json& c : cases) {
    const auto text = c["text"].get<std::string>();
    EXPECT_EQ(t->encode(text, false), c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(t->decode(c["ids"].get<Ids>(), false), text);
  }
  EXPECT_EQ(t->encode("a\xFFz", false), t->encode("a\xEF\xBF\xBDz", false));
}

}  // namespace
}  // namespace mneme
