#include "ops/attention_shape.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace mneme {
namespace {

void check_dense(const Keys& keys, const CallShape& call, SourceShape& shape) {
  MNEME_CHECK(
      keys.k.defined() && keys.k.dim() == 4 && keys.k.size(0) == call.rows && keys.k.size(3) == call.width,
      "keys must be [B, S, G, K], found " + describe(keys.k));
  MNEME_CHECK(keys.v.defined() && keys.v.sizes() == keys.k.sizes(),
              "values " + describe(keys.v) + " of keys " + describe(keys.k));
  shape.keys = keys.k.size(1);
  shape.heads = keys.k.size(2);
  shape.length.assign(static_cast<size_t>(call.rows), shape.keys);
}

void check_pages(const Keys& keys, const CallShape& call, SourceShape& shape) {
  MNEME_CHECK(static_cast<int64_t>(keys.pages.size()) == call.rows,
              "pages of " + std::to_string(keys.pages.size()) + " rows for " + std::to_string(call.rows));
  for (const std::vector<KeyPage>& row : keys.pages) {
    int64_t total = 0;
    for (const KeyPage& page : row) {
      MNEME_CHECK(page.k.defined() && page.k.dim() == 3 && page.k.size(2) == call.width && page.v.defined() &&
                      page.v.sizes() == page.k.sizes(),
                  "a page must be [G, P, K], found " + describe(page.k) + ", " + describe(page.v));
      MNEME_CHECK(page.begin >= 0 && page.count >= 0 && page.begin + page.count <= page.k.size(1),
                  "page range " + std::to_string(page.begin) + " + " + std::to_string(page.count) + " of " +
                      describe(page.k));
      MNEME_CHECK(shape.heads == 0 || shape.heads == page.k.size(0), "pages differ in heads");
      shape.heads = page.k.size(0);
      total += page.count;
    }
    shape.length.push_back(total);
    shape.keys = std::max(shape.keys, total);
  }
}

SourceShape check_source(const Tensor& q, const Keys& keys, const CallShape& call) {
  SourceShape shape;
  shape.width = call.width;
  if (keys.pages.empty()) {
    check_dense(keys, call, shape);
  } else {
    check_pages(keys, call, shape);
  }
  const size_t rows = static_cast<size_t>(call.rows);
  MNEME_CHECK(shape.heads == 0 || call.heads % shape.heads == 0,
              std::to_string(call.heads) + " query heads, " + std::to_string(shape.heads) + " key heads");
  MNEME_CHECK(!keys.q.defined() || keys.q.sizes() == q.sizes(), "queries of a source: " + describe(keys.q));
  if (!keys.length.empty()) {
    MNEME_CHECK(keys.length.size() == rows, "length is not per row");
    for (size_t b = 0; b < rows; ++b) {
      MNEME_CHECK(
          keys.length[b] >= 0 && keys.length[b] <= shape.length[b],
          "length " + std::to_string(keys.length[b]) + " of " + std::to_string(shape.length[b]) + " keys");
      shape.length[b] = keys.length[b];
    }
  }
  MNEME_CHECK(keys.start.empty() || keys.start.size() == rows, "start is not per row");
  shape.start = keys.start;
  for (size_t b = 0; keys.start.empty() && b < rows; ++b) {
    shape.start.push_back(shape.length[b] - call.count[b]);
  }
  if (keys.mask.defined()) {
    MNEME_CHECK(
        keys.mask.scalar_type() == at::kBool && keys.mask.dim() == 3 && keys.mask.size(0) == call.rows &&
            (keys.mask.size(1) == 1 || keys.mask.size(1) == call.queries) && keys.mask.size(2) == shape.keys,
        "mask " + describe(keys.mask) + " of keys " + std::to_string(shape.keys));
  }
  MNEME_CHECK(!keys.slopes.defined() || (keys.slopes.dim() == 1 && keys.slopes.size(0) == call.heads),
              "slopes " + describe(keys.slopes));
  if (keys.bias.defined()) {
    const int64_t n = keys.bias.dim();
    MNEME_CHECK((n == 2 || (n == 3 && keys.bias.size(0) == call.rows)) &&
                    keys.bias.size(n - 2) == call.heads && keys.bias.size(n - 1) == shape.keys,
                "bias " + describe(keys.bias) + " of keys " + std::to_string(shape.keys));
  }
  return shape;
}

}  // namespace

void dropout_factors(float* to, const AttentionOptions& options, const WeightSite& site, int64_t count) {
  constexpr int64_t kChunk = 128;
  const auto factor = static_cast<float>(1 / (1 - options.dropout));
  uint8_t keep[kChunk];
  for (int64_t j = 0; j < count; j += kChunk) {
    const auto n = static_cast<size_t>(std::min(kChunk, count - j));
    Site at = options.site;
    at.row += static_cast<uint64_t>(site.row);
    at.position = static_cast<uint64_t>(site.source) << 58 | static_cast<uint64_t>(site.head) << 46 |
                  static_cast<uint64_t>(site.query) << 24 | static_cast<uint64_t>(site.key + j);
    fill_keep(at, 1 - options.dropout, keep, n);
    for (size_t i = 0; i < n; ++i) to[static_cast<size_t>(j) + i] = keep[i] ? factor : 0.0F;
  }
}

CallShape check_attention(const Tensor& q, const std::vector<Keys>& sources,
                          const AttentionOptions& options) {
  MNEME_CHECK(q.dim() == 4 && q.size(3) > 0, "queries must be [B, T, H, K], found " + describe(q));
  CallShape call;
  call.rows = q.size(0);
  call.queries = q.size(1);
  call.heads = q.size(2);
  call.width = q.size(3);
  call.scale = options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<double>(call.width));
  call.count.assign(static_cast<size_t>(call.rows), call.queries);
  if (!options.query_count.empty()) {
    MNEME_CHECK(options.query_count.size() == call.count.size(), "query_count is not per row");
    call.count = options.query_count;
    for (const int64_t n : call.count)
      MNEME_CHECK(n >= 0 && n <= call.queries, "query_count " + std::to_string(n));
  }
  if (options.dropout > 0) {
    // The coordinates of a weight are packed into 64 bits.
    MNEME_CHECK(options.dropout < 1 && sources.size() <= 64 && call.heads <= 4096 && call.queries <= 1 << 22,
                "dropout " + std::to_string(options.dropout) + " on queries " + describe(q));
  }
  for (const Keys& keys : sources) {
    call.sources.push_back(check_source(q, keys, call));
    const int64_t heads = call.sources.back().heads;
    MNEME_CHECK(call.key_heads == 0 || heads == 0 || heads == call.key_heads, "sources differ in key heads");
    if (heads > 0) call.key_heads = heads;
    MNEME_CHECK(options.dropout == 0 || call.sources.back().keys <= 1 << 24,
                "dropout over more than 2^24 keys");
  }
  if (call.key_heads == 0) call.key_heads = call.heads;
  return call;
}

}  // namespace mneme
