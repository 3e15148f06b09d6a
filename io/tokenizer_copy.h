// A tokenizer's files in a model's folder.
#pragma once

#include <string>

namespace mneme {

// Puts into `folder`, which is there, what a model in it needs to encode as `from` does: the tokenizer files
// of a folder; of a file named as in such a folder, those beside it, too; any other file under the name by
// which folders are read; what hf_tokenizer makes of a GGUF file. False where `from` is a folder or a GGUF
// file without a tokenizer.
bool copy_tokenizer(const std::string& from, const std::string& folder);
// The same for work that is worth more than its tokenizer: one that cannot be written is a warning.
void take_tokenizer_along(const std::string& from, const std::string& folder);

}  // namespace mneme
