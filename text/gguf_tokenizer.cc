// The tokenizer inside a GGUF file (keys tokenizer.ggml.*). The split patterns are not in the file but behind
// the name in tokenizer.ggml.pre.
#include <cctype>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/gguf_metadata.h"
#include "text/bert_vocab.h"
#include "text/byte_bpe.h"
#include "text/gguf_patterns.h"
#include "text/spm_model.h"
#include "text/utf8.h"

namespace mneme {
namespace {

constexpr int64_t kUnknown = 2, kControl = 3, kUserDefined = 4;

struct Tables {
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;
};

Tables read_tables(const GgufMetadata& m, const std::string& where) {
  Tables out;
  auto tokens = m.texts("tokenizer.ggml.tokens");
  if (!tokens) throw Error(Kind::input, where + ": no tokenizer.ggml.tokens in this GGUF file");
  out.tokens = std::move(*tokens);
  if (auto types = m.integers("tokenizer.ggml.token_type")) out.types = std::move(*types);
  if (out.types.empty()) out.types.assign(out.tokens.size(), 1);
  if (out.types.size() != out.tokens.size()) {
    throw Error(Kind::input, where + ": " + std::to_string(out.tokens.size()) + " tokens but " +
                                 std::to_string(out.types.size()) + " token types");
  }
  for (const std::string_view t : out.tokens) {
    if (!is_utf8(t)) throw Error(Kind::input, where + ": a token that is not UTF-8");
  }
  return out;
}

int32_t read_id(const GgufMetadata& m, const char* name, size_t tokens, int32_t missing,
                const std::string& where) {
  const std::string key = std::string("tokenizer.ggml.") + name;
  const auto id = m.integer(key);
  if (!id || *id == UINT32_MAX || *id == -1) return missing;
  if (*id < 0 || *id >= static_cast<int64_t>(tokens)) {
    throw Error(Kind::input, where + ": " + key + " is " + std::to_string(*id) + " of " +
                                 std::to_string(tokens) + " tokens");
  }
  return static_cast<int32_t>(*id);
}

void read_special(const GgufMetadata& m, size_t tokens, TokenizerParts& out, const std::string& where) {
  SpecialIds& s = out.special;
  s.bos = read_id(m, "bos_token_id", tokens, s.bos, where);
  s.eos = read_id(m, "eos_token_id", tokens, s.eos, where);
  s.pad = read_id(m, "padding_token_id", tokens, s.pad, where);
  s.unk = read_id(m, "unknown_token_id", tokens, s.unk, where);
  if (const auto text = m.text("tokenizer.chat_template")) out.chat_template = *text;
}

void read_surroundings(const GgufMetadata& m, bool bos_by_default, TokenizerParts& out) {
  const bool bos = m.boolean("tokenizer.ggml.add_bos_token").value_or(bos_by_default);
  const bool eos = m.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  std::vector<int32_t> before, after;
  if (bos && out.special.bos >= 0) before.push_back(out.special.bos);
  if (eos && out.special.eos >= 0) after.push_back(out.special.eos);
  out.post_processor = surround(before, after);
}

TokenizerParts make_bpe(const GgufMetadata& m, const std::string& where) {
  const Tables tables = read_tables(m, where);
  Vocabulary vocab;
  vocab.reserve(tables.tokens.size(), tables.tokens.size() * 8);
  std::vector<AddedToken> added;
  for (size_t i = 0; i < tables.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    vocab.add(id, tables.tokens[i]);
    if (tables.types[i] != kControl && tables.types[i] != kUserDefined) continue;
    AddedToken t;
    t.id = id;
    t.content = tables.tokens[i];
    t.special = tables.types[i] == kControl;
    added.push_back(std::move(t));
  }
  const auto merge_list = m.texts("tokenizer.ggml.merges");
  if (!merge_list) throw Error(Kind::input, where + ": no tokenizer.ggml.merges in this GGUF file");
  MergeTable merges = read_merge_lines(*merge_list, vocab, where);
  const GgufPatterns pre = gguf_patterns(m.text("tokenizer.ggml.pre").value_or("default"), where);
  TokenizerParts out =
      make_byte_bpe(std::move(vocab), std::move(merges), pre.whole_pieces, pre.patterns, where);
  if (pre.nfc) out.normalizer = make_normalizer({{"type", "NFC"}}, where);
  out.added = AddedTokens(std::move(added), out.normalizer.get());
  read_special(m, tables.tokens.size(), out, where);
  read_surroundings(m, pre.adds_bos, out);
  return out;
}

// Phi-3's markers swallow the white space after them, which its files do not say.
bool is_phi3(const GgufMetadata& m) {
  std::string name(m.text("general.name").value_or(""));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
}

TokenizerParts make_spm(const GgufMetadata& m, SpmModelType type, const std::string& where) {
  const Tables tables = read_tables(m, where);
  const size_t count = tables.tokens.size();
  const auto scores = m.reals("tokenizer.ggml.scores");
  if (!scores || scores->size() != count) {
    throw Error(Kind::input, where + ": tokenizer.ggml.scores should have one number for each token");
  }
  SpmModel s;
  s.type = type;
  s.unk = read_id(m, "unknown_token_id", count, 0, where);
  s.bos = s.eos = s.pad = -1;
  for (size_t i = 0; i < count; ++i) {
    if (tables.types[i] < 1 || tables.types[i] > 6) {
      throw Error(Kind::input, where + ": a token of unknown type " + std::to_string(tables.types[i]));
    }
    if (!std::isfinite((*scores)[i])) throw Error(Kind::input, where + ": a score that is no number");
    SpmModel::Piece p;
    p.text = tables.tokens[i];
    p.score = static_cast<float>((*scores)[i]);
    p.type = static_cast<SpmPieceType>(tables.types[i]);
    s.byte_fallback = s.byte_fallback || p.type == SpmPieceType::byte;
    s.pieces.push_back(std::move(p));
  }
  s.shows_control = s.parses_control = true;
  s.controls_take_space = is_phi3(m);
  s.normalizer.add_dummy_prefix = m.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  s.normalizer.remove_extra_spaces = m.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  if (const GgufValue* map = m.find("tokenizer.ggml.precompiled_charsmap")) {
    if (map->type == GgufType::array && (map->element == GgufType::u8 || map->element == GgufType::i8)) {
      s.charsmap = map->bytes;
    }
  }
  TokenizerParts out = make_spm_tokenizer(std::move(s), where);
  const bool unigram = type == SpmModelType::unigram;
  if (!unigram) out.special.bos = 1, out.special.eos = 2;  // what the format takes for granted
  if (unigram) out.special.eos = 1;
  if (out.special.bos >= static_cast<int32_t>(count)) out.special.bos = -1;
  if (out.special.eos >= static_cast<int32_t>(count)) out.special.eos = -1;
  read_special(m, count, out, where);
  read_surroundings(m, !unigram, out);
  return out;
}

// The converter has turned "##ing" into "ing" and "word" into "\u2581word".
TokenizerParts make_bert(const GgufMetadata& m, const std::string& where) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  const Tables tables = read_tables(m, where);
  Vocabulary vocab;
  for (size_t i = 0; i < tables.tokens.size(); ++i) {
    const std::string_view t = tables.tokens[i];
    std::string piece(t);
    if (t.starts_with(kMark)) {
      piece = t.substr(kMark.size());
    } else if (tables.types[i] != kControl && tables.types[i] != kUnknown && !t.starts_with('[')) {
      piece.insert(0, "##");
    }
    vocab.add(static_cast<int32_t>(i), piece);
  }
  TokenizerParts out = make_bert_tokenizer(std::move(vocab), true, INT32_MAX, where);
  read_special(m, tables.tokens.size(), out, where);
  return out;
}

}  // namespace

TokenizerParts parse_gguf_tokenizer(const GgufMetadata& m, const std::string& where) {
  const auto model = m.text("tokenizer.ggml.model");
  if (!model) throw Error(Kind::input, where + ": this GGUF file has no tokenizer");
  if (*model == "gpt2") return make_bpe(m, where);
  if (*model == "llama") return make_spm(m, SpmModelType::bpe, where);
  if (*model == "t5") return make_spm(m, SpmModelType::unigram, where);
  if (*model == "bert") return make_bert(m, where);
  throw Error(Kind::input, where + ": the GGUF tokenizer model '" + std::string(*model) + "' is not known",
              "known are gpt2, llama, t5 and bert");
}

}  // namespace mneme
