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

// Where a weight stands: what dropout's randomness is keyed by, so that neither tiles nor batch shapes
// matter.
struct WeightSite {
  int64_t source = 0, row = 0, head = 0, query = 0, key = 0;
};
// 0 or 1 / (1 - p) for the keys from site.key on, which is a multiple of 128.
void dropout_factors(float* to, const AttentionOptions& options, const WeightSite& site, int64_t count);

CallShape check_attention(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options);

}  // namespace mneme
