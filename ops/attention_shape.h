// The numbers of an attention call with every default filled in, checked once for all its implementations.
#pragma once

#include <vector>

#include "ops/attention.h"

namespace mneme {

struct SourceShape {
  int64_t keys = 0;                    // S: of a dense tensor, or of the longest row of pages
  int64_t heads = 0, width = 0;        // G, K
  std::vector<int64_t> start, length;  // per row
};

struct CallShape {
  int64_t rows = 0, queries = 0, heads = 0, key_heads = 0, width = 0;  // B, T, H, G, K
  double scale = 0;
  std::vector<int64_t> count;  // real queries per row
  std::vector<SourceShape> sources;
};

CallShape check_attention(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options);

}  // namespace mneme
