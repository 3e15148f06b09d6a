#include "io/gguf_vocab.h"

#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/split_scanner.h"
#include "text/tokenizer.h"

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

[[noreturn]] void refuse(const JsonReader& in, const std::string& what) {
  throw Error(Kind::input, in.name() + ": " + what + " has no form in GGUF",
              "export without the vocabulary, or convert the tokenizer with llama.cpp");
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

// The pattern of a Split, "digits" for single digits, "bytes" for ByteLevel without its pattern.
std::string step_of(const JsonReader& part) {
  const std::string type = part.string("type");
  if (type == "Split" && part.string("behavior") == "Isolated" && !part.boolean("invert", false)) {
    return part.object("pattern").string("Regex", "");
  }
  if (type == "Digits" && part.boolean("individual_digits", false)) return "digits";
  if (type == "ByteLevel" && !part.boolean("add_prefix_space", true)) {
    return part.boolean("use_regex", true) ? std::string(kGpt2Pattern) : "bytes";
  }
  refuse(part, "the pre-tokenizer '" + type + "'");
}

// llama.cpp's name of the split patterns.
std::string pattern_name(const JsonReader& in) {
  std::vector<std::string> steps;
  for (const JsonReader& part : parts_of(in, "pre_tokenizer", "pretokenizers"))
    steps.push_back(step_of(part));
  if (!steps.empty() && steps.back() == "bytes") steps.pop_back();
  const bool whole = in.object("model").boolean("ignore_merges", false);
  if (steps.size() == 1 && find_split_scanner(steps[0]) == scan_gpt2) return "gpt-2";
  if (steps.size() == 1 && steps[0] == kCl100kPattern) return whole ? "llama-bpe" : "dbrx";
  if (steps.size() == 1 && steps[0] == kQwen2Pattern) return "qwen2";
  if (steps.size() == 2 && steps[0] == "digits" && steps[1] == kGpt2Pattern) return "smollm";
  refuse(in, "its pre-tokenizer");
}

bool adds_space(const JsonReader& in) {
  for (const JsonReader& part : parts_of(in, "normalizer", "normalizers")) {
    if (part.string("type") == "Prepend") return true;
  }
  for (const JsonReader& part : parts_of(in, "pre_tokenizer", "pretokenizers")) {
    if (part.string("type") != "Metaspace") refuse(part, "the pre-tokenizer '" + part.string("type") + "'");
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
  const std::vector<int32_t> around = tokenizer.encode("", true);
  out.emplace_back("tokenizer.ggml.add_bos_token",
                   !around.empty() && special.bos >= 0 && around.front() == special.bos);
  out.emplace_back("tokenizer.ggml.add_eos_token",
                   !around.empty() && special.eos >= 0 && around.back() == special.eos);
  if (!tokenizer.chat_template().empty())
    out.emplace_back("tokenizer.chat_template", tokenizer.chat_template());
}

}  // namespace

GgufSettings gguf_tokens(const json& tokenizer, const std::string& where, int64_t rows) {
  MNEME_CHECK(rows > 0 && rows <= kMaxRows);
  const JsonReader in(tokenizer, where);
  const JsonReader model = in.object("model");
  // Old files leave the type out; only BPE has merges.
  if (model.string("type", model.has("merges") ? "BPE" : "Unigram") != "BPE")
    refuse(in, "a tokenizer other than BPE");

  TokenTable table;
  for (int64_t i = 0; i < rows; ++i) table.tokens.push_back("[PAD" + std::to_string(i) + "]");
  table.types.assign(table.tokens.size(), kUnused);
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

GgufSettings gguf_vocabulary(const std::string& folder, int64_t rows) {
  const std::string path = join_path(folder, "tokenizer.json");
  GgufSettings out = gguf_tokens(read_json(path), path, rows);
  add_special(*load_tokenizer(folder), out);
  return out;
}

}  // namespace mneme
