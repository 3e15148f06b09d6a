#include "io/hf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "text/gguf_patterns.h"
#include "text/piece_splits.h"

namespace mneme {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
constexpr const char* kMark = "\xE2\x96\x81";  // SentencePiece's space

struct Pieces {
  std::vector<std::string_view> text;
  std::vector<int64_t> type;
  std::vector<double> score;  // of SentencePiece's

  explicit Pieces(const GgufMetadata& m, const std::string& where) {
    auto tokens = m.texts("tokenizer.ggml.tokens");
    if (!tokens) throw Error(Kind::input, where + ": this GGUF file has no tokenizer");
    text = *std::move(tokens);
    type = m.integers("tokenizer.ggml.token_type").value_or(std::vector<int64_t>(text.size(), 1));
    score = m.reals("tokenizer.ggml.scores").value_or(std::vector<double>(text.size(), 0));
    if (type.size() != text.size() || score.size() != text.size())
      throw Error(Kind::input, where + ": a tokenizer whose lists are of different lengths");
  }
  bool added(size_t i) const { return type[i] == kUnknown || type[i] == kControl || type[i] == kUserDefined; }
};

Json vocab_of(const Pieces& p) {
  Json out = Json::object();
  auto& pairs = out.get_ref<Json::object_t&>();  // [] looks through all that are there
  for (size_t i = 0; i < p.text.size(); ++i) pairs.emplace_back(std::string(p.text[i]), i);
  return out;
}

Json added_of(const Pieces& p) {
  Json out = Json::array();
  for (size_t i = 0; i < p.text.size(); ++i) {
    if (!p.added(i)) continue;
    out.push_back({{"id", i},
                   {"content", p.text[i]},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", false},
                   {"special", p.type[i] != kUserDefined}});
  }
  return out;
}

std::optional<size_t> id_of(const GgufMetadata& m, const std::string& name, const Pieces& p,
                            std::optional<size_t> missing = {}) {
  const auto id = m.integer("tokenizer.ggml." + name + "_token_id");
  const auto found = id ? std::optional<size_t>(static_cast<size_t>(*id)) : missing;
  return found && *found < p.text.size() ? found : std::nullopt;
}

// <s> before and </s> behind a text, where the file says so.
Json surroundings(const GgufMetadata& m, const Pieces& p, bool bos_by_default) {
  const bool spm = m.text("tokenizer.ggml.model") == "llama";
  const auto bos = id_of(m, "bos", p, spm ? std::optional<size_t>(1) : std::nullopt);
  const auto eos = id_of(m, "eos", p, spm ? std::optional<size_t>(2) : std::nullopt);
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto add = [&](std::optional<size_t> id) {
    const std::string text(p.text[*id]);
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    tokens[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
  };
  const bool before = bos && m.boolean("tokenizer.ggml.add_bos_token").value_or(bos_by_default);
  const bool behind = eos && m.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  if (!before && !behind) return nullptr;
  if (before) add(bos);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (behind) add(eos);
  pair = single;
  for (Json part : single) {
    if (part.contains("Sequence")) part["Sequence"]["id"] = "B";
    part.begin().value()["type_id"] = 1;
    pair.push_back(std::move(part));
  }
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(tokens)}};
}

Json byte_bpe(const GgufMetadata& m, const Pieces& p, const std::string& where) {
  const auto merges = m.texts("tokenizer.ggml.merges");
  if (!merges) throw Error(Kind::input, where + ": no tokenizer.ggml.merges in this GGUF file");
  const GgufPatterns pre = gguf_patterns(m.text("tokenizer.ggml.pre").value_or("default"), where);
  Json steps = Json::array();
  for (const std::string_view pattern : pre.patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back(
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  Json out = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  out["added_tokens"] = added_of(p);
  out["normalizer"] = pre.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  out["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  out["post_processor"] = surroundings(m, p, pre.adds_bos);
  out["decoder"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  out["model"] = {{"type", "BPE"},
                  {"dropout", nullptr},
                  {"unk_token", nullptr},
                  {"continuing_subword_prefix", nullptr},
                  {"end_of_word_suffix", nullptr},
                  {"fuse_unk", false},
                  {"byte_fallback", false},
                  {"ignore_merges", pre.whole_pieces},
                  {"vocab", vocab_of(p)},
                  {"merges", *merges}};
  return out;
}

// Any two pieces whose text together is a piece may merge; the higher its score, the earlier.
Json merges_of(const Pieces& p) {
  PieceIds pieces;
  for (size_t i = 0; i < p.text.size(); ++i) {
    if (!p.added(i) && p.type[i] != kByte && p.type[i] != kUnused && !p.text[i].empty())
      pieces.emplace_back(p.text[i], static_cast<int32_t>(i));
  }
  struct Merge {
    size_t left, right, whole;
  };
  std::vector<Merge> all;
  for_each_split(pieces, pieces, [&](int32_t left, int32_t right, int32_t whole) {
    all.push_back({static_cast<size_t>(left), static_cast<size_t>(right), static_cast<size_t>(whole)});
  });
  std::stable_sort(all.begin(), all.end(), [&](const Merge& a, const Merge& b) {
    return p.score[a.whole] != p.score[b.whole] ? p.score[a.whole] > p.score[b.whole] : a.whole < b.whole;
  });
  Json out = Json::array();
  for (const Merge& merge : all)
    out.push_back(std::string(p.text[merge.left]) + " " + std::string(p.text[merge.right]));
  return out;
}

Json sentencepiece_bpe(const GgufMetadata& m, const Pieces& p) {
  const bool space = m.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  Json normalizers = Json::array(), decoders = Json::array();
  if (space) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMark}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}});
  decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", kMark}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (space) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  const auto unknown = id_of(m, "unknown", p, 0);
  Json out = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  out["added_tokens"] = added_of(p);
  out["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
  out["pre_tokenizer"] = nullptr;
  out["post_processor"] = surroundings(m, p, true);
  out["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  out["model"] = {{"type", "BPE"},
                  {"dropout", nullptr},
                  {"unk_token", unknown ? Json(p.text[*unknown]) : Json(nullptr)},
                  {"continuing_subword_prefix", nullptr},
                  {"end_of_word_suffix", nullptr},
                  {"fuse_unk", true},
                  {"byte_fallback", std::count(p.type.begin(), p.type.end(), kByte) > 0},
                  {"ignore_merges", false},
                  {"vocab", vocab_of(p)},
                  {"merges", merges_of(p)}};
  return out;
}

Json config_of(const GgufMetadata& m, const Pieces& p, bool spm) {
  Json out = Json::object();
  const auto token = [&](const char* key, const char* name, std::optional<size_t> missing) {
    if (const auto id = id_of(m, name, p, missing)) out[key] = p.text[*id];
  };
  const auto taken_for_granted = [&](size_t id) { return spm ? std::optional<size_t>(id) : std::nullopt; };
  token("bos_token", "bos", taken_for_granted(1));
  token("eos_token", "eos", taken_for_granted(2));
  token("unk_token", "unknown", taken_for_granted(0));
  token("pad_token", "padding", {});
  out["clean_up_tokenization_spaces"] = false;
  out["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (const auto text = m.text("tokenizer.chat_template")) out["chat_template"] = *text;
  return out;
}

}  // namespace

HfTokenizer hf_tokenizer(const GgufMetadata& m, const std::string& where) {
  const std::string kind(m.text("tokenizer.ggml.model").value_or(""));
  const Pieces pieces(m, where);
  if (kind == "gpt2") return {byte_bpe(m, pieces, where), config_of(m, pieces, false)};
  if (kind == "llama") return {sentencepiece_bpe(m, pieces), config_of(m, pieces, true)};
  throw Error(Kind::input, where + ": the tokenizer '" + kind + "' of this GGUF file has no tokenizer.json",
              "give the folder of the model's own tokenizer");
}

}  // namespace mneme
