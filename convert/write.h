// Packages into files: a Hugging Face folder, a GGUF file, a folder under the original programs' names.
// Nothing appears under the target's name before all of it is written, synced and, if asked for, compared
// with what went in (convert/verify.h).
#pragma once

#include <functional>
#include <string>

#include "convert/package.h"
#include "io/gguf_blocks.h"

namespace mneme {

constexpr const char* kNoTokenizer = "none";

struct WriteOptions {
  std::string store = "keep";  // keep, fp32, fp16, bf16; GGUF: q8_0 too
  int64_t shard_bytes = int64_t{5} << 30;
  bool replace = false;
  std::string tokenizer =
      {};  // where to take it from, instead of the package's files; kNoTokenizer: leave it out
  // Called with the path of what was written, before it takes its name; throws to stop that.
  std::function<void(const std::string& path)> check = {};
};

void write_folder(const Package& package, const std::string& path, const WriteOptions& options);
// Throws Error{usage} for a package whose memory has parameters or acts: GGUF has no place for one.
void write_gguf_model(const Package& package, const std::string& path, const WriteOptions& options);
void write_original(const Package& package, const std::string& path, const WriteOptions& options);

// "F32", "F16", ...: what `store` means for GGUF; keep is the type of the package's matrices.
GgmlType gguf_store_type(const Package& package, const std::string& store);

}  // namespace mneme
