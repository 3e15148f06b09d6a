#include "io/hf_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/gguf_config.h"

namespace mneme {
namespace {

namespace fs = std::filesystem;

constexpr std::array kTokenizerFiles{"tokenizer.json",
                                     "tokenizer.model",
                                     "spiece.model",
                                     "sentencepiece.bpe.model",
                                     "spm.model",
                                     "vocab.json",
                                     "merges.txt",
                                     "encoder.json",
                                     "vocab.bpe",
                                     "vocab.txt",
                                     "dict.txt",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "chat_template.jinja",
                                     "chat_template.json"};

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

[[noreturn]] void fail(const std::string& what, const std::string& path, const std::string& why) {
  throw Error(Kind::resource, "cannot " + what + " " + path + ": " + why,
              "check space and permissions there");
}

// Renames are on the disk once the folder that holds the names is.
void sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);  // some file systems do not offer it
  ::close(fd);
}

std::string parent_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

uint64_t bytes_of(const LazyTensor& t) {
  return static_cast<uint64_t>(c10::multiply_integers(t.shape)) * c10::elementSize(t.dtype);
}

std::string shard_name(size_t index, size_t count) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

}  // namespace

HfFolder HfFolder::open(const std::string& path) {
  HfFolder folder;
  folder.path_ = without_slash(path);
  if (is_folder(folder.path_)) return folder;
  if (!file_exists(folder.path_)) {
    throw Error(Kind::input, "no model at '" + path + "'", "give a model folder or a GGUF file");
  }
  if (!GgufFile::looks_like(map_file(folder.path_))) {
    throw Error(Kind::input, "'" + path + "' is neither a model folder nor a GGUF file",
                "give the folder that holds config.json");
  }
  folder.gguf_ = true;
  return folder;
}

bool HfFolder::has(const std::string& name) const { return !gguf_ && file_exists(file(name)); }

std::string HfFolder::file(const std::string& name) const { return join_path(path_, name); }

nlohmann::json HfFolder::json(const std::string& name) const {
  nlohmann::json value = read_json(file(name));
  if (!value.is_object())
    throw Error(Kind::input, file(name) + ": expected a JSON object, found " + value.type_name());
  return value;
}

nlohmann::json HfFolder::config() const {
  if (gguf_) return hf_config_of(GgufFile::open(path_));
  if (!has("config.json")) {
    throw Error(Kind::input, "no config.json in '" + path_ + "'",
                is_adapter()
                    ? "this is an adapter: give its base model as --model and this folder as --adapter"
                    : "give the folder of a model in Hugging Face's layout, or a GGUF file");
  }
  return json("config.json");
}

std::optional<nlohmann::json> HfFolder::generation_config() const {
  if (!has("generation_config.json")) return std::nullopt;
  return json("generation_config.json");
}

std::vector<std::string> HfFolder::tokenizer_files() const {
  std::vector<std::string> out;
  for (const char* name : kTokenizerFiles) {
    if (has(name)) out.emplace_back(name);
  }
  if (is_folder(path_)) {
    for (const std::string& name : list_folder(path_, ".tiktoken")) out.push_back(name);
  }
  return out;
}

FolderWriter::FolderWriter(std::string path, bool replace)
    : path_(without_slash(std::move(path))), replace_(replace) {
  std::error_code ignored;
  const bool empty = fs::is_directory(path_, ignored) && fs::is_empty(path_, ignored);
  if (fs::exists(path_, ignored) && !empty && !replace_) {
    throw Error(Kind::input, "'" + path_ + "' is there already", "choose another name, or ask to replace it");
  }
  if (fs::exists(path_, ignored) && !fs::is_directory(path_, ignored)) {
    throw Error(Kind::input, "'" + path_ + "' is not a folder", "choose another name");
  }
  make_folders(parent_of(path_));
  temporary_ = path_ + ".tmp-XXXXXX";
  if (mkdtemp(temporary_.data()) == nullptr) fail("create a folder beside", path_, std::strerror(errno));
  fs::permissions(temporary_, fs::perms(0755), ignored);
}

FolderWriter::~FolderWriter() {
  std::error_code ignored;
  if (!done_) fs::remove_all(temporary_, ignored);
}

std::string FolderWriter::file(const std::string& name) const {
  MNEME_CHECK(!done_);
  return join_path(temporary_, name);
}

void FolderWriter::json(const std::string& name, const nlohmann::json& value) const {
  write_file(file(name), dump_json(value, 2) + "\n");
}

void FolderWriter::copy(const HfFolder& from, const std::string& name) const {
  const MappedFile source(from.file(name));
  write_file(file(name), source.text());
}

void FolderWriter::commit() {
  MNEME_CHECK(!done_);
  sync_folder(temporary_);
  // A plain rename takes the place of nothing or of an empty folder; anything else changes places with the
  // new one.
  const bool taken = std::rename(temporary_.c_str(), path_.c_str()) != 0;
  if (taken) {
    const bool occupied = errno == ENOTEMPTY || errno == EEXIST;
    if (!occupied || !replace_) fail("write", path_, std::strerror(errno));
    if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) fail("replace", path_, std::strerror(errno));
      // A file system without exchange: for a moment neither stands there, but both are on the disk.
      const std::string old = temporary_ + ".old";
      if (std::rename(path_.c_str(), old.c_str()) != 0 ||
          std::rename(temporary_.c_str(), path_.c_str()) != 0) {
        fail("replace", path_, std::strerror(errno));
      }
      temporary_ = old;
    }
  }
  done_ = true;
  sync_folder(parent_of(path_));
  std::error_code ignored;
  if (taken) fs::remove_all(temporary_, ignored);  // now the old folder
}

void write_weights(const FolderWriter& folder, const std::vector<LazyTensor>& tensors, uint64_t shard_bytes,
                   const Metadata& metadata) {
  std::vector<std::vector<LazyTensor>> shards(1);
  uint64_t total = 0, filled = 0;
  for (const LazyTensor& t : tensors) {
    const uint64_t bytes = bytes_of(t);
    if (filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(t);
    filled += bytes;
    total += bytes;
  }
  if (shards.size() == 1) return write_safetensors(folder.file("model.safetensors"), shards[0], metadata);
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    write_safetensors(folder.file(name), shards[i], metadata);
    for (const LazyTensor& t : shards[i]) map[t.name] = name;
  }
  folder.json("model.safetensors.index.json", {{"metadata", {{"total_size", total}}}, {"weight_map", map}});
}

}  // namespace mneme
