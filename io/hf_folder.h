// Model folders in Hugging Face's layout (config.json, model.safetensors, tokenizer files, ours: mneme.json
// and memory.safetensors), and folders that appear whole or not at all. A lone GGUF file counts as a model
// whose config is derived from its metadata. What the config means is the model's business (model/); weights
// are io/weights.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/lazy_tensor.h"
#include "io/safetensors.h"

namespace mneme {

class HfFolder {
 public:
  // A folder, or a GGUF file. Throws Error{input} when there is neither.
  static HfFolder open(const std::string& path);

  const std::string& path() const { return path_; }
  bool is_gguf() const { return gguf_; }
  bool has(const std::string& name) const;
  std::string file(const std::string& name) const;     // its path, there or not
  nlohmann::json json(const std::string& name) const;  // an object, or Error{input} with path and place
  nlohmann::json config() const;
  std::optional<nlohmann::json> generation_config() const;
  bool is_adapter() const { return has("adapter_config.json"); }
  // Those present of tokenizer.json, tokenizer.model, tokenizer_config.json, special_tokens_map.json,
  // added_tokens.json, vocab.json, merges.txt, vocab.txt, dict.txt, chat_template.jinja: what a copy of the
  // model needs.
  std::vector<std::string> tokenizer_files() const;

 private:
  std::string path_;
  bool gguf_ = false;
};

// Files go to a temporary folder beside the target; commit() makes them the target at once. A folder that is
// there already is replaced only with `replace`, otherwise Error{input}. Without commit() nothing remains.
class FolderWriter {
 public:
  explicit FolderWriter(std::string path, bool replace = false);
  ~FolderWriter();
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  std::string file(const std::string& name) const;  // where to write it
  void json(const std::string& name, const nlohmann::json& value) const;
  void copy(const HfFolder& from, const std::string& name) const;
  void commit();

 private:
  std::string path_, temporary_;
  bool replace_, done_ = false;
};

// model.safetensors, or shards of at most `shard_bytes` and their index; one tensor in memory at a time.
void write_weights(const FolderWriter& folder, const std::vector<LazyTensor>& tensors,
                   uint64_t shard_bytes = uint64_t{5} << 30, const Metadata& metadata = {{"format", "pt"}});

}  // namespace mneme
