// A model: a decoder and the memory that it reads with.
#pragma once

#include <memory>
#include <string>

#include "memory/memory.h"
#include "memory/registry.h"

namespace mneme {

struct Model {
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Memory> memory;
  MemoryOptions options;  // the method's name and options, as `mneme.json` keeps them

  State initial(int64_t rows) const;
  // All parameters: the decoder's and the memory's.
  std::vector<Parameter> parameters() const;
};

}  // namespace mneme
