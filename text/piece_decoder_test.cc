#include "text/piece_decoder.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/byte_glyphs.h"
#include "text/utf8.h"

namespace mneme {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

std::string decoded(const DecoderFactory& factory, const Strings& tokens,
                    DecodeMode mode = DecodeMode::whole) {
  DecodeChain chain = factory(mode);
  std::string shown;
  for (const std::string& t : tokens) {
    chain.push(t, -1);
    shown += chain.take();
    EXPECT_TRUE(is_utf8(shown));
  }
  chain.finish();
  return shown + chain.take();
}

std::string decoded(const char* config, const Strings& tokens) {
  const DecoderFactory factory = make_decoder(json::parse(config), "test");
  const std::string whole = decoded(factory, tokens);
  EXPECT_EQ(decoded(factory, tokens, DecodeMode::stream), whole) << config;
  return whole;
}

TEST(Decoder, None) { EXPECT_EQ(decoded("null", {"a", "b"}), "a b"); }

TEST(Decoder, ByteLevel) {
  const char* config = R"({"type":"ByteLevel"})";
  EXPECT_EQ(decoded(config, {bytes_to_glyphs("a \xC3"), bytes_to_glyphs("\xA9!")}), "a \xC3\xA9!");
  EXPECT_EQ(decoded(config, {bytes_to_glyphs("\xF0\x9F"), bytes_to_glyphs("\x98")}), "\xEF\xBF\xBD");
  EXPECT_EQ(decoded(config, {"a b", "<|x|>"}),
            "a b<|x|>");  // a space is no glyph: the token stands for itself
}

TEST(Decoder, LlamaChain) {
  const char* config =
      R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},
    {"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";
  EXPECT_EQ(decoded(config, {"\xE2\x96\x81Hey", "\xE2\x96\x81\xE2\x96\x81you"}), "Hey  you");
  EXPECT_EQ(decoded(config, {"<0xE2>", "<0x82>", "<0xAC>", "\xE2\x96\x81x"}), "\xE2\x82\xAC x");
  EXPECT_EQ(decoded(config, {"\xE2\x96\x81", "\xE2\x96\x81"}), " ");
  EXPECT_EQ(decoded(config, {}), "");
  EXPECT_EQ(decoded(config, {"<0xE2>", "<0x82>"}), "\xEF\xBF\xBD\xEF\xBF\xBD");
  // Where a run of bytes is no UTF-8, the reference gives up the whole run; a stream has already shown its
  // part.
  const DecoderFactory factory = make_decoder(json::parse(config), "test");
  const Strings broken = {"<0x41>", "<0xFF>", "b"};
  EXPECT_EQ(decoded(factory, broken),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(decoded(factory, broken, DecodeMode::stream),
            "A\xEF\xBF\xBD"
            "b");
}

TEST(Decoder, Strip) {
  EXPECT_EQ(decoded(R"({"type":"Strip","content":"_","start":2,"stop":1})", {"___a__", "_", "b_c_"}),
            "_a_b_c");
  const char* fused =
      R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"_","start":1,"stop":2}]})";
  EXPECT_EQ(decoded(fused, {"_", "_a_", "_b", "_", "_", "_"}), "_a__b_");
}

TEST(Decoder, ReplaceAcrossChunks) {
  const char* config =
      R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"aab"},"content":"!"}]})";
  EXPECT_EQ(decoded(config, {"a", "a", "a", "b", "a", "a"}), "a!aa");
  const char* regex =
      R"({"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"Regex":"a+"},"content":"!"}]})";
  EXPECT_EQ(decoded(regex, {"a", "a", "b"}), "!b");
}

TEST(Decoder, Metaspace) {
  EXPECT_EQ(decoded(R"({"type":"Metaspace","replacement":"_"})", {"_Hey", "_you", "_"}), "Hey you ");
  EXPECT_EQ(decoded(R"({"type":"Metaspace","replacement":"_","prepend_scheme":"never"})", {"_Hey", "_you"}),
            " Hey you");
  EXPECT_EQ(decoded(R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})", {"_Hey"}), " Hey");
}

TEST(Decoder, WordPiece) {
  EXPECT_EQ(decoded(R"({"type":"WordPiece","prefix":"##","cleanup":true})",
                    {"do", "##n", "'", "t", "!", "I", "'m"}),
            "don ' t! I'm");
  EXPECT_EQ(decoded(R"({"type":"WordPiece","prefix":"##","cleanup":false})", {"a", "##b", "."}), "ab .");
}

TEST(Decoder, WordSuffixAndCtc) {
  EXPECT_EQ(decoded(R"({"type":"BPEDecoder","suffix":"</w>"})", {"a", "b</w>", "c</w>"}), "ab c");
  EXPECT_EQ(decoded(R"({"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true})",
                    {"<pad>", "h", "h", "e", "<pad>", "l", "<pad>", "l", "|", "|", "o"}),
            "hell o");
}

TEST(Decoder, UnknownOnesAreNamed) {
  try {
    make_decoder(json::parse(R"({"type":"Whisper"})"), "tokenizer.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("'Whisper'"), std::string::npos);
  }
  EXPECT_THROW(make_decoder(json::parse(R"({"type":"Strip","content":"ab","start":1,"stop":0})"), "t"),
               Error);
  EXPECT_THROW(make_decoder(json::parse(R"({"type":"Strip","content":"a","start":-1,"stop":0})"), "t"),
               Error);
}

TEST(Decoder, SentencePiece) {
  SpmDecoderOptions o;
  o.hidden = {false, true, false, false, false};
  o.byte = {-1, -1, -1, 0xC3, 0xA9};
  o.unk = 0;
  const DecoderFactory factory = make_spm_decoder(o);
  const auto run = [&](const std::vector<std::pair<int32_t, std::string>>& tokens) {
    std::string results[2];
    for (const DecodeMode mode : {DecodeMode::whole, DecodeMode::stream}) {
      DecodeChain chain = factory(mode);
      for (const auto& [id, text] : tokens) chain.push(text, id);
      chain.finish();
      results[mode == DecodeMode::stream] = chain.take();
    }
    EXPECT_EQ(results[0], results[1]);
    return results[0];
  };
  const std::string mark = "\xE2\x96\x81";
  EXPECT_EQ(run({{1, "<s>"}, {2, mark + "a"}, {2, mark + "b"}}), "a b");
  EXPECT_EQ(run({{3, "<0xC3>"}, {4, "<0xA9>"}, {2, mark + "a"}}), "\xC3\xA9 a");
  EXPECT_EQ(run({{3, "<0xC3>"}, {2, "a"}, {4, "<0xA9>"}}),
            "\xEF\xBF\xBD"
            "a\xEF\xBF\xBD");
  EXPECT_EQ(run({{2, mark}, {2, mark + "a"}, {0, "<unk>"}}), " a \xE2\x81\x87 ");
}

}  // namespace
}  // namespace mneme
