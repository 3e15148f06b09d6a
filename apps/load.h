// What commands that run a model share: the model in the type that suits the machine, its tokenizer, its end
// tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/command.h"
#include "memory/model_folder.h"
#include "text/tokenizer.h"

namespace mneme {

MemoryOptions memory_of(const std::string& path);  // of a model folder or GGUF file

struct Loaded {
  Model model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<int64_t> end_ids;
};

// --dtype auto is bf16 where the checkpoint is 16-bit and the processor multiplies bf16, else fp32. The
// tokenizer is the model's where none is named; without `with_tokenizer` there is only one that is named.
Loaded load_for_inference(const std::string& path, const std::string& tokenizer, const CommonOptions& common,
                          const MemoryOptions& memory, bool with_tokenizer = true,
                          const std::string& adapter = {});

// As read_options, but what the command line does not say about the memory is what the folder says: a flag
// changes one option of it. T has `model` and `memory`.
template <Visitable T>
bool read_model_options(const Command& command, int argc, const char* const* argv, T& options) {
  T stored = options;  // with the command's own defaults
  if (!read_options(command, argc, argv, options)) return false;
  stored.memory = memory_of(options.model);
  parse_command_line(argc, argv, OptionTable(stored));
  options = std::move(stored);
  return true;
}

}  // namespace mneme
