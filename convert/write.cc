#include "convert/write.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "convert/original_names.h"
#include "io/gguf_model.h"
#include "io/gguf_vocab.h"
#include "io/hf_folder.h"
#include "memory/model_folder.h"
#include "memory/original_config.h"
#include "model/load.h"

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

void copy_files(const FolderWriter& folder, const std::string& from) {
  if (from.empty()) return;
  const HfFolder source = HfFolder::open(from);
  if (source.is_gguf()) {
    log_warning("convert",
                "the tokenizer stays in {}: give that file as --tokenizer, or a folder to copy one from",
                from);
    return;
  }
  for (const std::string& name : source.tokenizer_files()) folder.copy(source, name);
  if (source.has("generation_config.json")) folder.copy(source, "generation_config.json");
}

std::string store_name(const std::string& store) {
  return store == "fp32" ? "float32" : store == "fp16" ? "float16" : "bfloat16";
}

class PendingFile {
 public:
  PendingFile(std::string path, bool replace) : path_(std::move(path)), temporary_(path_ + ".tmp") {
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
  copy_files(folder, o.tokenizer.empty() ? p.files : o.tokenizer);
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
  const std::string from = o.tokenizer.empty() ? p.files : o.tokenizer;
  GgufSettings vocabulary;
  if (is_folder(from) && file_exists(join_path(from, "tokenizer.json"))) {
    vocabulary = gguf_vocabulary(from, p.config.at("vocab_size").get<int64_t>());
  } else {
    log_warning("convert", "no tokenizer.json: the file will hold no vocabulary");
  }
  export_gguf(file.temporary(), p.weights, p.config, gguf_store_type(p, o.store), vocabulary);
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
  copy_files(folder, o.tokenizer.empty() ? p.files : o.tokenizer);
  if (o.check) o.check(folder.file(""));
  folder.commit();
}

}  // namespace mneme
