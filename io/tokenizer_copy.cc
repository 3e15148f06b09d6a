#include "io/tokenizer_copy.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/gguf_metadata.h"
#include "base/log.h"
#include "io/hf_folder.h"
#include "io/hf_tokenizer.h"

namespace mneme {
namespace {

void copy_file(const std::string& from, const std::string& folder, const std::string& name) {
  const MappedFile source(from);
  write_file(join_path(folder, name), source.text());
}

bool copy_from_folder(const std::string& from, const std::string& folder) {
  const HfFolder source = HfFolder::open(from);
  const std::vector<std::string> names = source.tokenizer_files();
  for (const std::string& name : names) copy_file(source.file(name), folder, name);
  return !names.empty();
}

bool write_from_gguf(const std::string& from, const std::string& folder) {
  const GgufMetadata metadata = GgufMetadata::load(from);
  if (!metadata.text("tokenizer.ggml.model")) return false;
  const HfTokenizer files = hf_tokenizer(metadata, from);
  write_file(join_path(folder, "tokenizer.json"), files.tokenizer.dump(0) + "\n");
  write_file(join_path(folder, "tokenizer_config.json"), files.config.dump(2) + "\n");
  return true;
}

}  // namespace

bool copy_tokenizer(const std::string& from, const std::string& folder) {
  if (is_folder(from)) return copy_from_folder(from, folder);
  if (from.ends_with(".gguf")) return write_from_gguf(from, folder);
  const std::filesystem::path path(from);
  const std::string name = path.filename().string();
  const std::string beside = path.has_parent_path() ? path.parent_path().string() : ".";
  const std::vector<std::string> known = HfFolder::open(beside).tokenizer_files();
  if (std::find(known.begin(), known.end(), name) != known.end()) return copy_from_folder(beside, folder);
  for (const char* ending : {".json", ".model"}) {
    if (!name.ends_with(ending)) continue;
    copy_file(from, folder, std::string("tokenizer") + ending);
    return true;
  }
  throw Error(Kind::usage, "'" + from + "' is not a tokenizer that a model's folder can hold",
              "give a folder, a tokenizer.json, a tokenizer.model or a GGUF file");
}

void take_tokenizer_along(const std::string& from, const std::string& folder) {
  try {
    copy_tokenizer(from, folder);
  } catch (const Error& e) {
    log_warning("tokenizer", "{} holds no tokenizer: {}", folder, e.message());
  }
}

}  // namespace mneme
