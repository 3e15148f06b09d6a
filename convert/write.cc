#include "convert/write.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "convert/original_names.h"
#include "convert/tokenizer_check.h"
#include "io/gguf_model.h"
#include "io/gguf_vocab.h"
#include "io/hf_folder.h"
#include "io/tokenizer_copy.h"
#include "memory/model_folder.h"
#include "memory/original_config.h"
#include "model/load.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace mneme {
namespace {

LazyTensor stored_as(LazyTensor t, const std::string& store) {
  if (store == "keep" || !at::isFloatingType(t.dtype)) return t;
  t.dtype = parse_dtype(store);
  t.load = [load = t.load, dtype = t.dtype] { return load().to(dtype); };
  return t;
}

std::vector<LazyTensor> all_of(const WeightSource& source, const std::string& store) {
  std::vector<LazyTensor> out;
  for (const std::string& name : source.names()) out.push_back(stored_as(source.lazy(name), store));
  return out;
}

// Says so when texts are encoded otherwise than before.
void compare(const Tokenizer& before, const Tokenizer& after) {
  const std::string lost = compare_tokenizers(before, after).summary();
  if (!lost.empty()) log_warning("convert", "the target's tokenizer is not quite the source's: {}", lost);
}

void copy_files(const FolderWriter& folder, const Package& p, const std::string& tokenizer) {
  const std::string from = tokenizer.empty() || tokenizer == kNoTokenizer ? p.files : tokenizer;
  if (from.empty()) return;
  if (is_folder(from)) {
    const HfFolder source = HfFolder::open(from);
    if (source.has("generation_config.json")) folder.copy(source, "generation_config.json");
  }
  if (tokenizer == kNoTokenizer) return;
  const std::string to = folder.file("");
  if (copy_tokenizer(from, to)) {
    if (from.ends_with(".gguf")) compare(*load_tokenizer(from), *load_tokenizer(to));
  } else if (!tokenizer.empty()) {
    throw Error(Kind::usage, "no tokenizer in '" + from + "'", "name another place, or none");
  } else if (!is_folder(from)) {
    log_warning("convert", "no tokenizer in {}: the folder will hold none", from);
  }
}

std::vector<int64_t> end_ids(const nlohmann::json& config) {
  const auto found = config.find("eos_token_id");
  std::vector<int64_t> out;
  if (found == config.end()) return out;
  for (const auto& id : found->is_array() ? *found : nlohmann::json::array({*found})) {
    if (id.is_number_integer()) out.push_back(id.get<int64_t>());
  }
  return out;
}

// GGUF has keys for three ends of a text: of the text, of a turn, of a message.
void add_ends(const Package& p, GgufSettings& to) {
  std::vector<int64_t> ends = end_ids(p.config);
  const std::string generation = is_folder(p.files) ? join_path(p.files, "generation_config.json") : "";
  if (file_exists(generation)) {
    for (const int64_t id : end_ids(read_json(generation))) ends.push_back(id);
  }
  std::vector<int64_t> written;
  for (const auto& [key, value] : to) {
    if (key != "tokenizer.ggml.eos_token_id") continue;
    if (const auto* id = std::get_if<uint32_t>(&value)) written.push_back(*id);
  }
  constexpr const char* kKeys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                   "tokenizer.ggml.eom_token_id"};
  for (const int64_t id : ends) {
    if (id < 0 || id > INT32_MAX || std::ranges::count(written, id) > 0) continue;
    if (written.size() == std::size(kKeys)) {
      log_warning("convert", "GGUF has no key for a fourth token that ends a text: {} is left out", id);
      continue;
    }
    to.emplace_back(kKeys[written.size()], static_cast<uint32_t>(id));
    written.push_back(id);
  }
}

bool holds_tokenizer(const std::string& path) {
  if (path.ends_with(".gguf")) return GgufMetadata::load(path).text("tokenizer.ggml.model").has_value();
  try {
    return !tokenizer_file(path).empty();
  } catch (const Error&) {
    return false;
  }
}

GgufSettings vocabulary_of(const Package& p, const std::string& tokenizer) {
  if (tokenizer == kNoTokenizer) return {};
  const std::string from = tokenizer.empty() ? p.files : tokenizer;
  if (tokenizer.empty() && !holds_tokenizer(from)) {
    log_warning("convert", "no tokenizer in {}: the file will hold none", from);
    return {};
  }
  const bool copied = from.ends_with(".gguf");
  GgufSettings out = gguf_vocabulary(from, parse_model_config(p.config).vocab);
  if (!copied) add_ends(p, out);
  return out;
}

std::string store_name(const std::string& store) {
  return store == "fp32" ? "float32" : store == "fp16" ? "float16" : "bfloat16";
}

class PendingFile {
 public:
  PendingFile(std::string path, bool replace) : path_(std::move(path)), temporary_(path_ + ".tmp.gguf") {
    if (file_exists(path_) && !replace)
      throw Error(Kind::input, "'" + path_ + "' is there already", "choose another name, or add --replace");
  }
  ~PendingFile() {
    if (!done_) std::remove(temporary_.c_str());
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  const std::string& temporary() const { return temporary_; }
  void commit() {
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      throw Error(Kind::resource, "cannot write " + path_ + ": " + std::strerror(errno));
    done_ = true;
  }

 private:
  std::string path_, temporary_;
  bool done_ = false;
};

}  // namespace

void write_folder(const Package& p, const std::string& path, const WriteOptions& o) {
  if (o.store == "q8_0") throw Error(Kind::usage, "q8_0 is a type of GGUF files", "name the target *.gguf");
  FolderWriter folder(path, o.replace);
  nlohmann::json config = p.config;
  if (o.store != "keep") config["torch_dtype"] = store_name(o.store);
  folder.json("config.json", config);
  write_weights(folder, all_of(p.weights, o.store), static_cast<uint64_t>(o.shard_bytes));
  if (p.memory.method != "none") folder.json("mneme.json", memory_json(p.memory));
  if (p.added) write_safetensors(folder.file("memory.safetensors"), all_of(*p.added, "keep"));
  copy_files(folder, p, o.tokenizer);
  if (o.check) o.check(folder.file(""));
  folder.commit();
}

GgmlType gguf_store_type(const Package& p, const std::string& store) {
  if (store == "q8_0") return GgmlType::q8_0;
  if (store == "fp32") return GgmlType::f32;
  if (store == "fp16") return GgmlType::f16;
  if (store == "bf16") return GgmlType::bf16;
  for (const std::string& name : p.weights.names()) {
    const WeightSource::Info info = p.weights.info(name);
    if (info.shape.size() < 2) continue;
    if (info.dtype == at::kHalf) return GgmlType::f16;
    if (info.dtype == at::kBFloat16) return GgmlType::bf16;
    break;
  }
  return GgmlType::f32;
}

void write_gguf_model(const Package& p, const std::string& path, const WriteOptions& o) {
  if (p.memory.method != "none") {
    throw Error(Kind::usage, "a GGUF file has no place for the memory '" + p.memory.method + "'",
                "leave it out with --drop-memory, or write a folder");
  }
  PendingFile file(path, o.replace);
  const GgufSettings vocabulary = vocabulary_of(p, o.tokenizer);
  export_gguf(file.temporary(), p.weights, p.config, gguf_store_type(p, o.store), vocabulary);
  if (!vocabulary.empty()) {
    compare(*load_tokenizer(o.tokenizer.empty() ? p.files : o.tokenizer), *load_tokenizer(file.temporary()));
  }
  if (o.check) o.check(file.temporary());
  file.commit();
}

void write_original(const Package& p, const std::string& path, const WriteOptions& o) {
  if (o.store == "q8_0") throw Error(Kind::usage, "q8_0 is a type of GGUF files", "name the target *.gguf");
  std::vector<std::string> lost;
  nlohmann::json config = p.config;
  config["memory"] = to_original_config(p.memory, lost);
  for (const std::string& what : lost) log_warning("convert", "the original has no word for it: {}", what);
  FolderWriter folder(path, o.replace);
  folder.json("config.json", config);
  std::vector<LazyTensor> tensors = all_of(p.weights, o.store);
  // Checkpoints of the bare backbone leave the root of its names out; the originals wrap the whole model.
  const std::string root = NameMap(parse_model_config(p.config)).root();
  bool rooted = false;
  for (const LazyTensor& t : tensors) rooted = rooted || t.name.rfind(root, 0) == 0;
  for (LazyTensor& t : tensors) {
    const bool outside = t.name.rfind("lm_head.", 0) == 0;
    t.name = kOriginalPrefix + (rooted || outside ? "" : root) + t.name;
  }
  if (p.added) {
    for (LazyTensor& t : all_of(*p.added, "keep")) tensors.push_back(std::move(t));
  }
  write_weights(folder, tensors, static_cast<uint64_t>(o.shard_bytes));
  copy_files(folder, p, o.tokenizer);
  if (o.check) o.check(folder.file(""));
  folder.commit();
}

}  // namespace mneme
