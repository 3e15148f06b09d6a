// Which kind of tokenizer a path holds, and what the files beside it add.
#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/gguf_metadata.h"
#include "text/json_fields.h"
#include "text/special_names.h"
#include "text/split_scanner.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace mneme {
namespace {

using nlohmann::json;

constexpr uint64_t kMostBytes = uint64_t{256} << 20;

std::string read(const std::string& path) { return read_file(path, kMostBytes); }

std::string first_file(const std::string& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const std::string path = join_path(folder, name);
    if (file_exists(path)) return path;
  }
  return {};
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

json read_json_if_there(const std::string& folder, const char* name) {
  const std::string path = first_file(folder, {name});
  return path.empty() ? json() : parse_json(read(path), path);
}

// Special tokens are strings, or objects with a "content".
std::string token_text(const json& v) {
  if (v.is_string()) return v.get<std::string>();
  const json& content = member(v, "content");
  return content.is_string() ? content.get<std::string>() : std::string();
}

void override_special(const json& config, TokenizerParts& parts) {
  const auto set = [&](const char* name, int32_t& id) {
    const std::string text = token_text(member(config, name));
    if (text.empty()) return;
    if (const AddedToken* t = parts.added.find(text)) {
      id = t->id;
    } else if (const int32_t known = parts.model->vocabulary().find(text); known >= 0) {
      id = known;
    }
  };
  set("bos_token", parts.special.bos);
  set("eos_token", parts.special.eos);
  set("pad_token", parts.special.pad);
  set("unk_token", parts.special.unk);
}

std::string read_chat_template(const std::string& folder, const json& config) {
  if (const std::string path = first_file(folder, {"chat_template.jinja"}); !path.empty()) return read(path);
  const json file = read_json_if_there(folder, "chat_template.json");
  for (const json* holder : {&file, &config}) {
    const json& t = member(*holder, "chat_template");
    if (t.is_string()) return t.get<std::string>();
    if (!t.is_array()) continue;
    for (const json& entry : t) {  // named templates
      const json &name = member(entry, "name"), &text = member(entry, "template");
      if (name.is_string() && name.get<std::string>() == "default" && text.is_string()) {
        return text.get<std::string>();
      }
    }
  }
  return {};
}

// Tokens that only the files beside the vocabulary know, for the kinds that do not list their own.
void add_configured_tokens(const std::string& folder, const json& config, TokenizerParts& parts) {
  std::vector<AddedToken> tokens = parts.added.all();
  const size_t before = tokens.size();
  const auto add = [&](int64_t id, const json& token, bool special, const std::string& where) {
    AddedToken t;
    t.content = token_text(token);
    const json entry = token.is_object() ? token : json();
    if (t.content.empty() || id < 0 || id >= Vocabulary::kMostIds) return;
    t.id = static_cast<int32_t>(id);
    t.lstrip = field_bool(entry, "lstrip", false, where);
    t.rstrip = field_bool(entry, "rstrip", false, where);
    t.single_word = field_bool(entry, "single_word", false, where);
    t.special = field_bool(entry, "special", special, where);
    t.normalized = field_bool(entry, "normalized", false, where);
    tokens.push_back(std::move(t));
  };
  const json added = read_json_if_there(folder, "added_tokens.json");
  if (added.is_object()) {
    for (const auto& [text, id] : added.items()) {
      if (id.is_number_integer()) add(id.get<int64_t>(), json(text), true, folder);
    }
  }
  const json& decoder = member(config, "added_tokens_decoder");
  if (decoder.is_object()) {
    for (const auto& [id, entry] : decoder.items()) {
      if (!id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos) {
        add(std::stoll(id), entry, true, folder);
      }
    }
  }
  if (tokens.size() != before) parts.added = AddedTokens(std::move(tokens), parts.normalizer.get());
}

void configure(const std::string& folder, TokenizerParts& parts) {
  const json config = read_json_if_there(folder, "tokenizer_config.json");
  override_special(read_json_if_there(folder, "special_tokens_map.json"), parts);
  override_special(config, parts);
  if (std::string text = read_chat_template(folder, config); !text.empty()) {
    parts.chat_template = std::move(text);
  }
}

bool looks_like_ranks(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
         line.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
             space &&
         line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos;
}

TokenizerParts load_model_file(const std::string& path) {
  const std::string bytes = read(path);
  return looks_like_ranks(bytes) ? parse_tiktoken(bytes, path) : parse_sentencepiece(bytes, path);
}

TokenizerParts load_gpt2(const std::string& folder) {
  const std::string vocab = first_file(folder, {"vocab.json", "encoder.json"});
  const std::string merges = first_file(folder, {"merges.txt", "vocab.bpe"});
  if (vocab.empty() || merges.empty()) {
    throw Error(Kind::input, folder + ": vocab.json and merges.txt belong together, one of them is missing");
  }
  const json config = read_json_if_there(folder, "tokenizer_config.json");
  TokenizerParts parts = parse_gpt2_files(read(vocab), read(merges), vocab);
  const json& kind = member(config, "tokenizer_class");
  if (kind.is_string() && kind.get<std::string>().starts_with("Qwen2")) {
    parts.normalizer = make_normalizer({{"type", "NFC"}}, vocab);
    parts.pre_tokenizer =
        make_pre_tokenizer({{"type", "Sequence"}, {"pretokenizers", json::array()}}, true, vocab);
    parts.pre_tokenizer.steps.push_back(
        make_split_step(kQwen2Pattern, SplitBehavior::isolated, false, vocab));
    parts.pre_tokenizer.bytes = true;
  }
  add_configured_tokens(folder, config, parts);
  if (field_bool(config, "add_bos_token", false, folder)) {
    override_special(config, parts);
    if (parts.special.bos >= 0) parts.post_processor = surround({parts.special.bos}, {});
  }
  return parts;
}

TokenizerParts load_fairseq(const std::string& folder) {
  const std::string vocab = first_file(folder, {"encoder.json", "vocab.json"});
  const std::string merges = first_file(folder, {"vocab.bpe", "merges.txt"});
  const std::string dict = join_path(folder, "dict.txt");
  if (vocab.empty() || merges.empty()) {
    throw Error(Kind::input, dict + ": fairseq's dictionary needs encoder.json and vocab.bpe beside it");
  }
  return parse_fairseq_files(read(vocab), read(merges), read(dict), dict);
}

TokenizerParts load_bert(const std::string& path) {
  const json config = read_json_if_there(folder_of(path), "tokenizer_config.json");
  return parse_bert_vocab(read(path), field_bool(config, "do_lower_case", true, path), path);
}

TokenizerParts load_file(const std::string& path) {
  const std::string name = name_of(path);
  if (name.ends_with(".gguf")) return parse_gguf_tokenizer(GgufMetadata::load(path), path);
  if (name == "vocab.json" || name == "encoder.json" || name == "merges.txt" || name == "vocab.bpe") {
    return load_gpt2(folder_of(path));
  }
  if (name == "dict.txt") return load_fairseq(folder_of(path));
  if (name == "vocab.txt") return load_bert(path);
  if (name.ends_with(".json")) return parse_tokenizer_json(read(path), path);
  if (name.ends_with(".model") || name.ends_with(".tiktoken")) return load_model_file(path);
  throw Error(
      Kind::input, path + ": a tokenizer file of unknown kind",
      "known are tokenizer.json, tokenizer.model, *.tiktoken, vocab.json, vocab.txt, dict.txt and *.gguf");
}

std::string tokenizer_in_folder(const std::string& folder) {
  std::string path =
      first_file(folder, {"tokenizer.json", "dict.txt", "tokenizer.model", "spiece.model",
                          "sentencepiece.bpe.model", "spm.model", "vocab.json", "encoder.json", "vocab.txt"});
  if (!path.empty()) return path;
  for (const char* suffix : {".tiktoken", ".gguf"}) {
    const auto names = list_folder(folder, suffix);
    if (!names.empty()) return join_path(folder, names.front());
  }
  throw Error(
      Kind::input, folder + ": no tokenizer in this folder",
      "expected tokenizer.json, tokenizer.model, vocab.json with merges.txt, vocab.txt or a GGUF file");
}

}  // namespace

std::string tokenizer_file(const std::string& path) {
  if (is_folder(path)) return tokenizer_in_folder(path);
  if (file_exists(path)) return path;
  throw Error(Kind::input, path + ": no such file or folder", "give a model folder or a tokenizer file");
}

bool holds_ranks(const std::string& path) { return looks_like_ranks(read(path)); }

std::shared_ptr<const Tokenizer> load_tokenizer(const std::string& path) {
  const std::string file = tokenizer_file(path);
  TokenizerParts parts = load_file(file);
  if (!file.ends_with(".gguf") && !file.ends_with("dict.txt")) configure(folder_of(file), parts);
  guess_special_ids(parts);
  return std::make_shared<const Tokenizer>(std::move(parts));
}

}  // namespace mneme
