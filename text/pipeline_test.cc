// Normalizers, pre-tokenizers, added tokens and post-processors, each against what the reference does.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/spm_normalizer.h"

namespace mneme {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

const std::string kMark = "\xE2\x96\x81";

std::string normalized(const char* config, std::string text) {
  const auto n = make_normalizer(json::parse(config), "test");
  bool front_lost = false;
  n->apply(text, front_lost);
  return text;
}

TEST(Normalizer, SimpleOnes) {
  EXPECT_EQ(normalized(R"({"type":"NFC"})", "e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(normalized(R"({"type":"NFD"})", "\xC3\xA9"), "e\xCC\x81");
  EXPECT_EQ(normalized(R"({"type":"NFKC"})", "\xEF\xAC\x81"), "fi");
  EXPECT_EQ(normalized(R"({"type":"NFKD"})", "\xEF\xAC\x81\xC3\xA9"), "fie\xCC\x81");
  EXPECT_EQ(normalized(R"({"type":"Lowercase"})", "ABC\xC3\x89"), "abc\xC3\xA9");
  EXPECT_EQ(normalized(R"({"type":"StripAccents"})", "e\xCC\x81\xC3\xA9"), "e\xC3\xA9");
  EXPECT_EQ(normalized(R"({"type":"Prepend","prepend":"_"})", "a"), "_a");
  EXPECT_EQ(normalized(R"({"type":"Prepend","prepend":"_"})", ""), "");
  EXPECT_EQ(normalized(R"({"type":"Replace","pattern":{"String":"ab"},"content":"x"})", "ababa"), "xxa");
  EXPECT_EQ(normalized(R"({"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "})", "a   b  c"),
            "a b c");
  EXPECT_EQ(normalized(R"({"type":"Strip","strip_left":true,"strip_right":true})", "\xC2\xA0 a b\n"), "a b");
  EXPECT_EQ(normalized(R"({"type":"Strip","strip_left":false,"strip_right":true})", " a "), " a");
  EXPECT_EQ(normalized(R"({"type":"Strip","strip_left":true,"strip_right":false})", " a "), "a ");
  EXPECT_EQ(normalized(R"({"type":"Strip","strip_left":true,"strip_right":true})", "  "), "");
  EXPECT_EQ(normalized(R"({"type":"Nmt"})",
                       "a\x01\t\xE2\x80\x8B\xEF\xBB\xBF"
                       "b"),
            "a   b");
  EXPECT_EQ(normalized(R"({"type":"ByteLevel"})", " \xC3\xA9"), "\xC4\xA0\xC3\x83\xC2\xA9");
  EXPECT_EQ(
      normalized(
          R"({"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"}]})",
          "\xC3\x89T\xC3\x89"),
      "ete");
}

TEST(Normalizer, Bert) {
  const char* uncased =
      R"({"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true})";
  EXPECT_EQ(normalized(uncased, "\xC3\x89t\xC3\xA9\t\x01\xE4\xB8\xAD!"), "ete  \xE4\xB8\xAD !");
  const char* cased = R"({"type":"BertNormalizer","lowercase":false})";
  EXPECT_EQ(normalized(cased, "\xC3\x89t\xC3\xA9"), "\xC3\x89t\xC3\xA9");
  const char* stripped =
      R"({"type":"BertNormalizer","strip_accents":true,"lowercase":false,"handle_chinese_chars":false})";
  EXPECT_EQ(normalized(stripped, "\xC3\x89\xE4\xB8\xAD"), "E\xE4\xB8\xAD");
}

TEST(Normalizer, UnknownOnesAreNamed) {
  try {
    make_normalizer(json::parse(R"({"type":"Shout"})"), "tokenizer.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("'Shout'"), std::string::npos) << e.message();
    EXPECT_EQ(e.kind(), Kind::input);
  }
  EXPECT_THROW(make_normalizer(json::parse("{}"), "t"), Error);
  EXPECT_THROW(make_normalizer(json::parse(R"({"type":"Replace","content":"x"})"), "t"), Error);
  EXPECT_THROW(make_normalizer(json::parse(R"({"type":"Precompiled","precompiled_charsmap":"!"})"), "t"),
               Error);
  EXPECT_THROW(
      make_normalizer(json::parse(R"({"type":"Precompiled","precompiled_charsmap":"AAAAAAA="})"), "t"),
      Error);
}

Strings pieces(const std::string& config, const std::string& text, bool at_start = true) {
  const PreTokenizer p = make_pre_tokenizer(json::parse(config), false, "test");
  PieceList list;
  list.text = text;
  list.pieces.push_back({0, static_cast<uint32_t>(text.size()), -1, at_start});
  p.apply(list);
  Strings out;
  for (const TextPiece& piece : list.pieces) out.emplace_back(list.view(piece));
  return out;
}

TEST(PreTokenizer, Behaviors) {
  const auto split = [](const char* behavior, bool invert = false) {
    return pieces(R"({"type":"Split","pattern":{"String":"-"},"invert":)" +
                      std::string(invert ? "true" : "false") + R"(,"behavior":")" + behavior + "\"}",
                  "the-final--countdown");
  };
  // The table in the library's documentation.
  EXPECT_EQ(split("Removed"), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(split("Isolated"), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithPrevious"), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithNext"), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split("Contiguous"), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split("Removed", true), (Strings{"-", "-", "-"}));
}

TEST(PreTokenizer, Metaspace) {
  const auto metaspace = [](const char* rest, const char* text, bool at_start = true) {
    return pieces(R"({"type":"Metaspace","replacement":"_")" + std::string(rest) + "}", text, at_start);
  };
  EXPECT_EQ(metaspace("", "Hey  you"), (Strings{"_Hey", "_", "_you"}));
  EXPECT_EQ(metaspace(R"(,"prepend_scheme":"always")", " Hey"), (Strings{"_Hey"}));
  EXPECT_EQ(metaspace(R"(,"prepend_scheme":"never")", "Hey you"), (Strings{"Hey", "_you"}));
  EXPECT_EQ(metaspace(R"(,"add_prefix_space":false)", "Hey you"), (Strings{"Hey", "_you"}));
  EXPECT_EQ(metaspace(R"(,"prepend_scheme":"first")", "Hey you"), (Strings{"_Hey", "_you"}));
  EXPECT_EQ(metaspace(R"(,"prepend_scheme":"first")", "Hey you", false), (Strings{"Hey", "_you"}));
  EXPECT_EQ(metaspace(R"(,"split":false)", "Hey you"), (Strings{"_Hey_you"}));
  // The first scheme after a step that removes the front.
  EXPECT_EQ(pieces(R"({"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},
                   {"type":"Metaspace","replacement":"_","prepend_scheme":"first"}]})",
                   "a b"),
            (Strings{"_a", "b"}));
}

TEST(PreTokenizer, Others) {
  EXPECT_EQ(pieces(R"({"type":"Whitespace"})", "Hey man! e\xCC\x81..x"),
            (Strings{"Hey", "man", "!", "e\xCC\x81", "..", "x"}));
  EXPECT_EQ(pieces(R"({"type":"WhitespaceSplit"})", " Hey\xC2\xA0man! \n"), (Strings{"Hey", "man!"}));
  EXPECT_EQ(pieces(R"({"type":"Digits","individual_digits":true})", "a12"), (Strings{"a", "1", "2"}));
  EXPECT_EQ(pieces(R"({"type":"Digits","individual_digits":false})", "a12b"), (Strings{"a", "12", "b"}));
  EXPECT_EQ(pieces(R"({"type":"Punctuation"})", "a,$b"), (Strings{"a", ",", "$", "b"}));
  EXPECT_EQ(pieces(R"({"type":"Punctuation","behavior":"Contiguous"})", "a,$b"), (Strings{"a", ",$", "b"}));
  EXPECT_EQ(pieces(R"({"type":"CharDelimiterSplit","delimiter":"x"})", "axxb"), (Strings{"a", "b"}));
  EXPECT_EQ(pieces(R"({"type":"FixedLength","length":2})",
                   "ab\xC3\xA9"
                   "d!"),
            (Strings{"ab",
                     "\xC3\xA9"
                     "d",
                     "!"}));
  EXPECT_EQ(pieces(R"({"type":"BertPreTokenizer"})", "Hey, you\xE3\x80\x82"),
            (Strings{"Hey", ",", "you", "\xE3\x80\x82"}));
  EXPECT_EQ(pieces(R"({"type":"ByteLevel","add_prefix_space":true})", "a b"), (Strings{"\xC4\xA0"
                                                                                       "a",
                                                                                       "\xC4\xA0"
                                                                                       "b"}));
  EXPECT_EQ(pieces(R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})", "a b"),
            (Strings{"a\xC4\xA0"
                     "b"}));
  EXPECT_EQ(
      pieces(R"({"type":"Split","pattern":{"Regex":"\\d+"},"behavior":"Removed","invert":true})", "a12b3"),
      (Strings{"12", "3"}));
  EXPECT_THROW(pieces(R"({"type":"UnicodeScripts"})", "a"), Error);
  EXPECT_THROW(pieces(R"({"type":"FixedLength","length":0})", "a"), Error);
  EXPECT_THROW(pieces(R"({"type":"Split","pattern":{"String":""},"behavior":"Isolated"})", "a"), Error);
  EXPECT_THROW(pieces(R"({"type":"Split","pattern":{"String":"a"},"behavior":"Sideways"})", "a"), Error);
}

TEST(PreTokenizer, TheModelMayTakeTheBytes) {
  const json config = json::parse(R"({"type":"ByteLevel"})");
  EXPECT_TRUE(make_pre_tokenizer(config, true, "test").bytes);
  EXPECT_FALSE(make_pre_tokenizer(config, false, "test").bytes);
  const json inner =
      json::parse(R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})");
  EXPECT_FALSE(make_pre_tokenizer(inner, true, "test").bytes);
}

AddedToken token(int32_t id, const std::string& content) {
  AddedToken t;
  t.id = id;
  t.content = content;
  return t;
}

std::string cut(const AddedTokens& tokens, const std::string& text, bool special_as_text = false) {
  PieceList list;
  list.text = text;
  list.pieces.push_back({0, static_cast<uint32_t>(text.size()), -1, true});
  tokens.split_original(list, special_as_text);
  std::string out;
  for (const TextPiece& p : list.pieces) {
    out += (p.id < 0 ? "(" : std::to_string(p.id) + "[") + std::string(list.view(p)) + (p.id < 0 ? ")" : "]");
  }
  return out;
}

TEST(AddedTokens, LeftmostThenLongest) {
  const AddedTokens t({token(1, "<a>"), token(2, "<a><b>"), token(3, "b>")}, nullptr);
  EXPECT_EQ(cut(t, "x<a><b>y<a>"), "(x)2[<a><b>](y)1[<a>]");
  EXPECT_EQ(cut(t, "<a"), "(<a)");
  EXPECT_EQ(cut(t, "<b>"), "(<)3[b>]");
}

TEST(AddedTokens, Flags) {
  AddedToken word = token(1, "cat");
  word.single_word = true;
  EXPECT_EQ(cut(AddedTokens({word}, nullptr),
                "cat concat cat, cats _cat \xC3\xA9"
                "cat cat"),
            "1[cat]( concat )1[cat](, cats _cat \xC3\xA9"
            "cat )1[cat]");
  AddedToken left = token(1, "<m>");
  left.lstrip = true;
  EXPECT_EQ(cut(AddedTokens({left}, nullptr), "a  <m> b"), "(a)1[  <m>]( b)");
  AddedToken right = token(2, "<e>");
  right.rstrip = true;
  EXPECT_EQ(cut(AddedTokens({right}, nullptr),
                "a <e>\n\xC2\xA0"
                "b"),
            "(a )2[<e>\n\xC2\xA0](b)");
  // The space between them goes to the first.
  EXPECT_EQ(cut(AddedTokens({left, right}, nullptr), "<e> <m>"), "2[<e> ]1[<m>]");
  AddedToken special = token(3, "<s>");
  special.special = true;
  EXPECT_EQ(cut(AddedTokens({special, token(4, "<n>")}, nullptr), "<s><n>", true), "(<s>)4[<n>]");
}

TEST(AddedTokens, NormalizedOnesAreSoughtInTheirNormalForm) {
  const auto lower = make_normalizer(json::parse(R"({"type":"Lowercase"})"), "test");
  AddedToken t = token(1, "ABC");
  t.normalized = true;
  const AddedTokens tokens({t}, lower.get());
  PieceList list;
  list.text = "xabc";
  list.pieces.push_back({0, 4, -1, true});
  tokens.split_original(list, false);
  EXPECT_EQ(list.pieces.size(), 1u);
  tokens.split_normalized(list, false);
  ASSERT_EQ(list.pieces.size(), 2u);
  EXPECT_EQ(list.pieces[1].id, 1);
}

TEST(AddedTokens, TheLaterOfTwoWithOneTextStays) {
  const AddedTokens t({token(1, "a"), token(2, "a")}, nullptr);
  EXPECT_EQ(t.find(1), nullptr);
  EXPECT_EQ(t.find(2)->content, "a");
  EXPECT_EQ(t.find("a")->id, 2);
}

std::vector<int32_t> processed(const char* config, std::vector<int32_t> ids) {
  return make_post_processor(json::parse(config), "test").apply(std::move(ids));
}

TEST(PostProcessor, Templates) {
  const char* both = R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[1,5],"tokens":["<s>","x"]},"</s>":{"id":"</s>","ids":[2],"tokens":["</s>"]}}}]})";
  EXPECT_EQ(processed(both, {7, 8}), (std::vector<int32_t>{1, 5, 7, 8, 2}));
  EXPECT_EQ(processed(R"({"type":"BertProcessing","sep":["[SEP]",102],"cls":["[CLS]",101]})", {7}),
            (std::vector<int32_t>{101, 7, 102}));
  EXPECT_EQ(
      processed(R"({"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",0],"trim_offsets":true})", {}),
      (std::vector<int32_t>{0, 2}));
  EXPECT_THROW(processed(R"({"type":"Stamp"})", {}), Error);
  EXPECT_THROW(processed(R"({"type":"BertProcessing","sep":["x",-1],"cls":["y",1]})", {}), Error);
  EXPECT_THROW(
      processed(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{}})",
                {}),
      Error);
  EXPECT_THROW(processed(R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"B"}}]})", {}), Error);
}

TEST(SpmNormalizer, Spaces) {
  const auto run = [](SpmNormalizerOptions o, std::string text) {
    bool front_lost = false;
    SpmNormalizer(std::move(o)).apply(text, front_lost);
    return text;
  };
  SpmNormalizerOptions o;
  EXPECT_EQ(run(o, "  a  b "), kMark + "a" + kMark + "b");
  EXPECT_EQ(run(o, "   "), "");
  EXPECT_EQ(run(o, ""), "");
  o.remove_extra_spaces = false;
  EXPECT_EQ(run(o, " a  b "), kMark + kMark + "a" + kMark + kMark + "b" + kMark);
  EXPECT_EQ(run(o, " "), kMark + kMark);
  o.add_dummy_prefix = false;
  EXPECT_EQ(run(o, "a"), "a");
  o.escape_spaces = false;
  EXPECT_EQ(run(o, "a b"), "a b");
  SpmNormalizerOptions suffix;
  suffix.spaces_are_suffixes = true;
  EXPECT_EQ(run(suffix, " a b"), "a" + kMark + "b" + kMark);
}

}  // namespace
}  // namespace mneme
