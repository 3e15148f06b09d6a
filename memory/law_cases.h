// Tiny models of every registry row on two backbones, for the tests of the laws.
#pragma once

#include <string>
#include <vector>

#include "memory/read.h"

namespace mneme {

struct LawCase {
  std::string name;  // "rmt/llama"
  MemoryOptions options;
  bool llama = false;
  const MethodRow* row = nullptr;  // null: the registry's row of that name
};

std::vector<LawCase> law_cases();
// Random weights of some size, so that memory matters; the same for the same case.
Model law_model(const LawCase& c, at::ScalarType type = at::kDouble);
Tensor law_text(int64_t rows, int64_t tokens, uint64_t seed);

// Reads the rows in the given cuts (token counts of each call, the same for all rows).
Tensor read_in_pieces(const Model& model, const Tensor& ids, const std::vector<int64_t>& pieces,
                      State& state);

}  // namespace mneme
