#include "io/gguf_vocab.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/byte_bpe.h"
#include "text/gguf_patterns.h"
#include "text/split_scanner.h"
#include "text/spm_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace mneme {
namespace {

using nlohmann::json;

enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

constexpr float kNeverMerged = -1e6F;
constexpr int64_t kMaxRows = int64_t{1} << 24;

struct TokenTable {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::pair<std::string, std::string>> merges;
};

[[noreturn]] void refuse_vocabulary(const std::string& where, const std::string& what) {
  throw Error(Kind::input, where + ": " + what + " has no form in GGUF",
              "--tokenizer none writes the model without it");
}

[[noreturn]] void refuse_vocabulary(const JsonReader& in, const std::string& what) {
  refuse_vocabulary(in.name(), what);
}

TokenTable empty_table(int64_t rows) {
  TokenTable out;
  for (int64_t i = 0; i < rows; ++i) out.tokens.push_back("[PAD" + std::to_string(i) + "]");
  out.types.assign(out.tokens.size(), kUnused);
  return out;
}

void read_tokens(const JsonReader& in, TokenTable& out) {
  const auto set = [&](const std::string& text, const JsonReader& reader, int64_t id, int32_t type) {
    if (id < 0 || id >= static_cast<int64_t>(out.tokens.size())) {
      throw Error(Kind::input, reader.name() + ": token '" + text + "' has id " + std::to_string(id) +
                                   ", the model has " + std::to_string(out.tokens.size()) + " rows");
    }
    out.tokens[static_cast<size_t>(id)] = text;
    out.types[static_cast<size_t>(id)] = type;
  };
  const JsonReader model = in.object("model");
  const JsonReader vocab = model.object("vocab");
  const bool bytes = model.boolean("byte_fallback", false);
  for (const auto& [text, id] : vocab.json().items()) {
    const bool byte = bytes && text.size() == 6 && text.rfind("<0x", 0) == 0 && text.back() == '>';
    set(text, model, vocab.integer(text), byte ? kByte : kNormal);
  }
  const std::string unknown = model.string("unk_token", "");
  const json* added = in.find("added_tokens");
  if (added == nullptr) return;
  if (!added->is_array()) in.fail("added_tokens", "a list");
  for (const json& token : *added) {
    const JsonReader t(token, in.name());
    const std::string text = t.string("content");
    const int32_t type = text == unknown ? kUnknown : t.boolean("special", false) ? kControl : kUserDefined;
    set(text, t, t.integer("id"), type);
  }
}

// "a b" or ["a", "b"]
void read_merges(const JsonReader& model, TokenTable& out) {
  const json& list = model.at("merges");
  if (!list.is_array()) model.fail("merges", "a list");
  for (const json& merge : list) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos) model.fail("merges", "two pieces with a space between");
      out.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      model.fail("merges", "a list of pairs");
    }
  }
}

// The parts of a pre-tokenizer, normalizer or decoder: those of a Sequence, or itself.
std::vector<JsonReader> parts_of(const JsonReader& in, const char* key, const char* list) {
  std::vector<JsonReader> out;
  const auto whole = in.object_if(key);
  if (!whole) return out;
  if (whole->string("type") != "Sequence") return {*whole};
  const json& parts = whole->at(list);
  if (!parts.is_array()) whole->fail(list, "a list");
  for (const json& part : parts) out.emplace_back(part, in.name());
  return out;
}

// The pattern of a Split or of what stands for one, "bytes" for ByteLevel without its own.
std::string step_of(const JsonReader& part) {
  const std::string type = part.string("type");
  if (type == "Split" && part.string("behavior") == "Isolated" && !part.boolean("invert", false)) {
    return part.object("pattern").string("Regex", "");
  }
  if (type == "Digits" && part.boolean("individual_digits", false)) return R"(\p{N})";
  if (type == "ByteLevel" && !part.boolean("add_prefix_space", true)) {
    return part.boolean("use_regex", true) ? std::string(kGpt2Pattern) : "bytes";
  }
  refuse_vocabulary(part, "the pre-tokenizer '" + type + "'");
}

// llama.cpp's name of the split patterns: what its reading (text/gguf_patterns.h) gives them back.
std::string pattern_name(const JsonReader& in) {
  std::vector<std::string> steps;
  for (const JsonReader& part : parts_of(in, "pre_tokenizer", "pretokenizers"))
    steps.push_back(step_of(part));
  if (!steps.empty() && steps.back() == "bytes") steps.pop_back();
  for (std::string& step : steps) {
    if (find_split_scanner(step) == scan_gpt2) step = kGpt2Pattern;
  }
  const bool whole = in.object("model").boolean("ignore_merges", false);
  bool nfc = false;
  for (const JsonReader& part : parts_of(in, "normalizer", "normalizers"))
    nfc = nfc || part.string("type") == "NFC";
  std::string found;
  for (const char* name : {"gpt-2", "llama-bpe", "dbrx", "stablelm2", "qwen2", "smollm", "tekken", "gpt-4o",
                           "deepseek-llm", "deepseek-v3", "deepseek-coder"}) {
    const GgufPatterns known = gguf_patterns(name, in.name());
    if (!std::ranges::equal(known.patterns, steps) || known.whole_pieces != whole) continue;
    if (known.nfc == nfc) return name;
    found = name;  // all but the normaliser
  }
  if (found.empty()) refuse_vocabulary(in, "its pre-tokenizer");
  return found;
}

bool adds_space(const JsonReader& in) {
  for (const JsonReader& part : parts_of(in, "normalizer", "normalizers")) {
    if (part.string("type") == "Prepend") return true;
  }
  for (const JsonReader& part : parts_of(in, "pre_tokenizer", "pretokenizers")) {
    if (part.string("type") != "Metaspace")
      refuse_vocabulary(part, "the pre-tokenizer '" + part.string("type") + "'");
    if (part.has("prepend_scheme")) return part.string("prepend_scheme") != "never";
    return part.boolean("add_prefix_space", true);
  }
  return false;
}

// A piece's score is minus the rank of the first merge that makes it: what the merges were once derived from.
std::vector<float> scores_of(const TokenTable& table) {
  std::unordered_map<std::string, size_t> rank;
  for (size_t i = 0; i < table.merges.size(); ++i) {
    rank.emplace(table.merges[i].first + table.merges[i].second, i);
  }
  std::vector<float> scores;
  for (size_t id = 0; id < table.tokens.size(); ++id) {
    const auto found = rank.find(table.tokens[id]);
    const float score = found == rank.end() ? kNeverMerged : -static_cast<float>(found->second);
    scores.push_back(table.types[id] == kNormal ? score : 0);
  }
  return scores;
}

// What stands around an encoded text, and the ids that have a meaning.
void add_special(const Tokenizer& tokenizer, GgufSettings& out) {
  const SpecialIds& special = tokenizer.special();
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) out.emplace_back(key, static_cast<uint32_t>(value));
  };
  id("tokenizer.ggml.bos_token_id", special.bos);
  id("tokenizer.ggml.eos_token_id", special.eos);
  id("tokenizer.ggml.unknown_token_id", special.unk);
  id("tokenizer.ggml.padding_token_id", special.pad);
  // The two may be one token, as OPT's are.
  const std::vector<int32_t> plain = tokenizer.encode("a", false), around = tokenizer.encode("a", true);
  const auto found = std::search(around.begin(), around.end(), plain.begin(), plain.end());
  out.emplace_back("tokenizer.ggml.add_bos_token",
                   special.bos >= 0 && found != around.begin() && around.front() == special.bos);
  out.emplace_back("tokenizer.ggml.add_eos_token", special.eos >= 0 &&
                                                       around.end() - found > std::ssize(plain) &&
                                                       around.back() == special.eos);
  if (!tokenizer.chat_template().empty())
    out.emplace_back("tokenizer.chat_template", tokenizer.chat_template());
}

// The two files of GPT-2 as the tokenizer.json that they stand for.
json gpt2_files(const std::string& folder, const Tokenizer& tokenizer) {
  const auto first = [&](const char* name, const char* other) {
    const std::string path = join_path(folder, name);
    return file_exists(path) ? path : join_path(folder, other);
  };
  const std::string merges = read_file(first("merges.txt", "vocab.bpe"));
  json out = {{"model", {{"type", "BPE"}, {"vocab", read_json(first("vocab.json", "encoder.json"))}}},
              {"added_tokens", json::array()}};
  for (const std::string_view line : merge_lines(merges)) out["model"]["merges"].push_back(line);
  for (const AddedToken& t : tokenizer.added_tokens())
    out["added_tokens"].push_back({{"id", t.id}, {"content", t.content}, {"special", t.special}});
  const std::string config = join_path(folder, "tokenizer_config.json");
  const bool qwen =
      file_exists(config) && read_json(config).value("tokenizer_class", "").starts_with("Qwen2");
  json steps = json::array();
  if (qwen) {
    steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}});
    out["normalizer"] = {{"type", "NFC"}};
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", !qwen}});
  out["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  return out;
}

// A GGUF file's own, as it stands.
GgufSettings copied(const std::string& path, int64_t rows) {
  const GgufMetadata metadata = GgufMetadata::load(path);
  const auto tokens = metadata.texts("tokenizer.ggml.tokens");
  if (!tokens) throw Error(Kind::input, path + ": this GGUF file has no tokenizer");
  if (static_cast<int64_t>(tokens->size()) > rows) {
    throw Error(Kind::input, path + ": " + std::to_string(tokens->size()) + " tokens, the model has " +
                                 std::to_string(rows) + " rows");
  }
  GgufSettings out;
  for (const std::string& key : metadata.keys()) {
    if (!key.starts_with("tokenizer.")) continue;
    const GgufValue& v = *metadata.find(key);
    out.emplace_back(key, GgufRaw{v.type, v.element, v.count, std::string(v.bytes)});
  }
  return out;
}

}  // namespace

GgufSettings gguf_tokens(const json& tokenizer, const std::string& where, int64_t rows) {
  MNEME_CHECK(rows > 0 && rows <= kMaxRows);
  const JsonReader in(tokenizer, where);
  const JsonReader model = in.object("model");
  // Old files leave the type out; only BPE has merges.
  if (model.string("type", model.has("merges") ? "BPE" : "Unigram") != "BPE")
    refuse_vocabulary(in, "a tokenizer other than BPE");

  TokenTable table = empty_table(rows);
  read_tokens(in, table);
  read_merges(model, table);

  const bool bytes = model.boolean("byte_fallback", false);
  GgufSettings out;
  out.emplace_back("tokenizer.ggml.model", std::string(bytes ? "llama" : "gpt2"));
  out.emplace_back("tokenizer.ggml.pre", bytes ? std::string("default") : pattern_name(in));
  if (bytes) {
    out.emplace_back("tokenizer.ggml.scores", scores_of(table));
    out.emplace_back("tokenizer.ggml.add_space_prefix", adds_space(in));
  } else {
    std::vector<std::string> merges;
    for (const auto& [left, right] : table.merges) merges.push_back(left + " " + right);
    out.emplace_back("tokenizer.ggml.merges", std::move(merges));
  }
  out.emplace_back("tokenizer.ggml.tokens", std::move(table.tokens));
  out.emplace_back("tokenizer.ggml.token_type", std::move(table.types));
  return out;
}

GgufSettings gguf_pieces(const SpmModel& m, const std::string& where, int64_t rows) {
  if (m.type != SpmModelType::bpe && m.type != SpmModelType::unigram)
    refuse_vocabulary(where, "a SentencePiece model of words or characters");
  if (static_cast<int64_t>(m.pieces.size()) > rows) {
    throw Error(Kind::input, where + ": " + std::to_string(m.pieces.size()) + " pieces, the model has " +
                                 std::to_string(rows) + " rows");
  }
  TokenTable table = empty_table(rows);
  std::vector<float> scores(table.tokens.size(), 0);
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    table.tokens[i] = m.pieces[i].text;
    table.types[i] = static_cast<int32_t>(m.pieces[i].type);
    scores[i] = m.pieces[i].score;
  }
  GgufSettings out;
  out.emplace_back("tokenizer.ggml.model", std::string(m.type == SpmModelType::bpe ? "llama" : "t5"));
  out.emplace_back("tokenizer.ggml.pre", std::string("default"));
  out.emplace_back("tokenizer.ggml.tokens", std::move(table.tokens));
  out.emplace_back("tokenizer.ggml.scores", std::move(scores));
  out.emplace_back("tokenizer.ggml.token_type", std::move(table.types));
  out.emplace_back("tokenizer.ggml.add_space_prefix", m.normalizer.add_dummy_prefix);
  out.emplace_back("tokenizer.ggml.remove_extra_whitespaces", m.normalizer.remove_extra_spaces);
  if (!m.charsmap.empty()) {
    out.emplace_back("tokenizer.ggml.precompiled_charsmap",
                     GgufRaw{GgufType::array, GgufType::u8, m.charsmap.size(), m.charsmap});
  }
  return out;
}

GgufSettings gguf_vocabulary(const std::string& path, int64_t rows) {
  MNEME_CHECK(rows > 0 && rows <= kMaxRows);
  const std::string file = tokenizer_file(path), name = file.substr(file.rfind('/') + 1);
  if (name.ends_with(".gguf")) return copied(file, rows);
  const auto tokenizer = load_tokenizer(path);
  GgufSettings out;
  if (name.ends_with(".json") && name != "vocab.json" && name != "encoder.json") {
    out = gguf_tokens(read_json(file), file, rows);
  } else if (name.ends_with(".json") || name == "merges.txt" || name == "vocab.bpe") {
    const size_t slash = file.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash);
    out = gguf_tokens(gpt2_files(folder, *tokenizer), file, rows);
  } else if (name.ends_with(".model") && !holds_ranks(file)) {
    out = gguf_pieces(read_sentencepiece(read_file(file), file), file, rows);
  } else {
    refuse_vocabulary(file, "this kind of tokenizer file");
  }
  add_special(*tokenizer, out);
  return out;
}

}  // namespace mneme
