// What commands that run a model share: the model in the type that suits the machine, its tokenizer, its end
// tokens.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "memory/model_folder.h"
#include "text/tokenizer.h"

namespace mneme {

struct Loaded {
  Model model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<int64_t> end_ids;
};

// --dtype auto is bf16 where the checkpoint is 16-bit and the processor multiplies bf16, else fp32. `memory`
// overrides the folder's when its method is not "none". The tokenizer is the model's where none is named;
// without `with_tokenizer` there is only one that is named.
Loaded load_for_inference(const std::string& path, const std::string& tokenizer, const CommonOptions& common,
                          const MemoryOptions& memory, bool with_tokenizer = true,
                          const std::string& adapter = {});

}  // namespace mneme
