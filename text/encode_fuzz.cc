// Texts of arbitrary bytes through small tokenizers of each kind.
#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>

#include "text/byte_glyphs.h"
#include "text/fuzz_tokenizer.h"
#include "text/split_scanner.h"

namespace {

using namespace mneme;
using nlohmann::json;

std::unique_ptr<Tokenizer> from(const json& config) {
  return std::make_unique<Tokenizer>(parse_tokenizer_json(config.dump(), "embedded"));
}

json byte_pairs(const json& pre_tokenizer) {
  json vocab = json::object();
  int32_t id = 0;
  for (int b = 0; b < 256; ++b) vocab[std::string(glyph_of_byte(static_cast<uint8_t>(b)))] = id++;
  json merges = json::array();
  for (const char* pair : {"a b", "ab ab", "\xC4\xA0 a", "\xC3\x83 \xC2\xA9", "1 1", "11 1"}) {
    std::string text = pair;
    text.erase(text.find(' '), 1);
    vocab[text] = id++;
    merges.push_back(pair);
  }
  return {{"pre_tokenizer", pre_tokenizer},
          {"decoder", {{"type", "ByteLevel"}}},
          {"added_tokens",
           {{{"id", id}, {"content", "<s>"}, {"special", true}, {"lstrip", true}, {"rstrip", true}}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

json llama() {
  json vocab = {{"<unk>", 0},
                {"<s>", 1},
                {"\xE2\x96\x81", 2},
                {"a", 3},
                {"\xE2\x96\x81"
                 "a",
                 4},
                {"b", 5},
                {"ab", 6}};
  for (unsigned b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", b);
    vocab[name] = 7 + b;
  }
  return json::parse(R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\u2581"},
    {"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},
    "added_tokens":[{"id":1,"content":"<s>","special":true},{"id":0,"content":"<unk>","special":true}],
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},
    {"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","merges":["\u2581 a","a b"],"unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":)" +
                     vocab.dump() + "}}");
}

json unigram() {
  return json::parse(R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},
    {"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},
    "pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","prepend_scheme":"first"},
    "decoder":{"type":"Metaspace","replacement":"\u2581"},
    "added_tokens":[{"id":0,"content":"ab","single_word":true,"normalized":true}],
    "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["\u2581",-2],["a",-3],["ab",-4],["\u2581a",-1.5],["e",-3]]}})");
}

json bert() {
  return json::parse(R"({"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},
    "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
    "model":{"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":20,
    "vocab":{"?":0,"a":1,"##a":2,"b":3,"##ab":4,"!":5,"e":6}}})");
}

json split(std::string_view pattern) {
  return {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
}

const std::array<std::unique_ptr<Tokenizer>, 6>& tokenizers() {
  static const std::array<std::unique_ptr<Tokenizer>, 6> all = {
      from(byte_pairs({{"type", "ByteLevel"}, {"add_prefix_space", false}})),
      from(byte_pairs(split(kCl100kPattern))),
      from(byte_pairs(split(kO200kPattern))),
      from(llama()),
      from(unigram()),
      from(bert()),
  };
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t which = data[0] % tokenizers().size();
  const Tokenizer& t = *tokenizers()[which];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  exercise(t, text);
  if (which < 3) {  // bytes lose nothing
    const std::vector<int32_t> ids = t.encode(text, false, SpecialText::plain);
    require(t.decode(ids, false) == repaired_utf8(text));
  }
  return 0;
}
