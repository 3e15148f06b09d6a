#include "ops/attention_impl.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <string>

#include "base/error.h"
#include "ops/cpu.h"

namespace mneme {
namespace {

constexpr double kLog2E = 1.4426950408889634;

int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

bool is_number(const Tensor& t) { return t.scalar_type() == at::kFloat || t.scalar_type() == at::kBFloat16; }
bool is_half(const Tensor& t) { return t.scalar_type() == at::kBFloat16; }

const AttentionKernels& kernels_for(bool all_half) {
  switch (cpu_level()) {
#if defined(__x86_64__)
    case CpuLevel::amx:
      if (all_half) return kAttentionAmx;
      return kAttentionAvx512;
    case CpuLevel::avx512:
      return all_half && cpu_multiplies_bf16() ? kAttentionAvx512Bf16 : kAttentionAvx512;
    case CpuLevel::avx2:
      return kAttentionAvx2;
#endif
    default:
      return kAttentionBaseline;
  }
}

std::vector<std::vector<SourceView::Page>> view_pages(const Keys& keys) {
  std::vector<std::vector<SourceView::Page>> out;
  for (const std::vector<KeyPage>& row : keys.pages) {
    std::vector<SourceView::Page>& pages = out.emplace_back();
    int64_t at = 0;
    for (const KeyPage& page : row) {
      if (page.count == 0) continue;
      const int64_t size = static_cast<int64_t>(page.k.element_size()), step = page.k.size(2) * size;
      const int64_t shift = (page.begin - at) * step;
      pages.push_back({static_cast<const char*>(page.k.data_ptr()) + shift,
                       static_cast<const char*>(page.v.data_ptr()) + shift, page.k.stride(0) * size,
                       page.v.stride(0) * size, at, at + page.count});
      at += page.count;
    }
  }
  return out;
}

bool page_fits(const KeyPage& page, at::ScalarType type) {
  auto fits = [&](const Tensor& t) {
    return t.scalar_type() == type && t.device().is_cpu() && t.stride(2) == 1 && t.stride(1) == t.size(2);
  };
  return fits(page.k) && fits(page.v);
}

bool source_fits(const Tensor& q, const Keys& keys) {
  if (keys.q.defined() && (keys.q.scalar_type() != q.scalar_type() || !keys.q.device().is_cpu()))
    return false;
  if (keys.pages.empty()) {
    return is_number(keys.k) && keys.k.scalar_type() == keys.v.scalar_type() && keys.k.device().is_cpu() &&
           keys.v.device().is_cpu();
  }
  const Tensor* any = nullptr;
  for (const auto& row : keys.pages) {
    for (const KeyPage& page : row) {
      if (!any) any = &page.k;
      if (!is_number(*any) || !page_fits(page, any->scalar_type())) return false;
    }
  }
  return true;
}

SourceView view_source(const Tensor& q, const Keys& keys, const SourceShape& shape) {
  SourceView out;
  out.keys = &keys;
  out.shape = &shape;
  out.held_q = with_rows(keys.q.defined() ? keys.q : q);
  out.q = strided(out.held_q);
  if (keys.pages.empty()) {
    out.held_k = with_rows(keys.k);
    out.held_v = with_rows(keys.v);
    out.k = strided(out.held_k);
    out.v = strided(out.held_v);
    out.half = is_half(keys.k);
  } else {
    out.pages = view_pages(keys);
    for (const auto& row : keys.pages) {
      if (!row.empty()) out.half = is_half(row[0].k);
    }
  }
  if (keys.mask.defined()) out.mask = keys.mask.to(at::kCPU).contiguous();
  if (keys.slopes.defined()) out.slopes = keys.slopes.to(at::kCPU, at::kFloat).contiguous();
  if (keys.bias.defined()) out.bias = keys.bias.to(at::kCPU, at::kFloat).contiguous();
  return out;
}

// Biases over scale, and the mask, of one query and `count` keys, `step` floats apart.
void fill_added(float* to, int64_t step, const AttentionCall& call, const SourceView& source, int64_t b,
                int64_t head, int64_t t, int64_t first, int64_t count) {
  const int64_t keys = source.shape->keys;
  if (source.bias.defined()) {
    const float* bias = source.bias.data_ptr<float>() + first +
                        ((source.bias.dim() == 3 ? b * call.shape.heads : 0) + head) * keys;
    const float scale = static_cast<float>(1 / call.shape.scale);
    for (int64_t j = 0; j < count; ++j) to[j * step] = bias[j] * scale;
  }
  if (source.mask.defined()) {
    const int64_t line = source.mask.size(1) == 1 ? b : b * call.shape.queries + t;
    const bool* mask = source.mask.data_ptr<bool>() + line * keys + first;
    for (int64_t j = 0; j < count; ++j) to[j * step] = mask[j] ? to[j * step] : kHidden;
  }
}

}  // namespace

void Scratch::Free::operator()(char* p) const { std::free(p); }

void Scratch::reserve(size_t bytes) {
  reset();
  if (bytes <= size_) return;
  data_.reset();
  size_ = 0;
  data_.reset(static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
  if (!data_) throw std::bad_alloc();
  size_ = bytes;
}

char* Scratch::take_bytes(size_t bytes) {
  char* out = data_.get() + used_;
  used_ += (bytes + 63) / 64 * 64;
  MNEME_CHECK(used_ <= (size_ + 63) / 64 * 64, "scratch of " + std::to_string(size_) + " bytes");
  return out;
}

std::vector<Scratch>& thread_scratch(int threads, size_t bytes) {
  static thread_local std::vector<Scratch> scratch;
  if (scratch.size() < static_cast<size_t>(threads)) scratch.resize(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) scratch[static_cast<size_t>(i)].reserve(bytes);
  return scratch;
}

Tensor with_rows(const Tensor& t) { return t.size(3) == 1 || t.stride(3) == 1 ? t : t.contiguous(); }

Strided strided(const Tensor& t) {
  const int64_t size = static_cast<int64_t>(t.element_size());
  return {static_cast<const char*>(t.data_ptr()), t.stride(0) * size, t.stride(1) * size, t.stride(2) * size};
}

bool attention_kernels_take(const Tensor& q, const std::vector<Keys>& sources,
                            const AttentionOptions& options) {
  if (!q.device().is_cpu() || !is_number(q) || options.scale < 0) return false;
  return std::all_of(sources.begin(), sources.end(), [&](const Keys& keys) { return source_fits(q, keys); });
}

AttentionCall prepare_call(const Tensor& q, const std::vector<Keys>& sources,
                           const AttentionOptions& options) {
  AttentionCall call;
  call.shape = check_attention(q, sources, options);
  call.options = &options;
  call.half = is_half(q);
  bool all_half = call.half;
  for (size_t s = 0; s < sources.size(); ++s) {
    call.sources.push_back(view_source(q, sources[s], call.shape.sources[s]));
    all_half = all_half && (call.sources.back().half || call.shape.sources[s].keys == 0);
  }
  call.kernels = &kernels_for(all_half);
  const int64_t per_word = call.kernels->pairs ? 2 : 1;
  call.group = call.shape.heads / call.shape.key_heads;
  call.words = padded(padded(call.shape.width, per_word) / per_word, 16);
  call.columns = padded(call.shape.width, 16);
  call.key_words = kBlockKeys / per_word;
  call.scale_log2 = static_cast<float>(call.shape.scale * kLog2E);
  return call;
}

void key_addresses(const AttentionCall& call, const SourceView& source, int64_t b, int64_t g, int64_t first,
                   int64_t count, const void** k, const void** v) {
  if (source.pages.empty()) {
    const char *k_at = source.k.at(b, first, g), *v_at = source.v.at(b, first, g);
    for (int64_t j = 0; j < count; ++j) {
      k[j] = k_at + j * source.k.step;
      v[j] = v_at + j * source.v.step;
    }
    return;
  }
  const std::vector<SourceView::Page>& pages = source.pages[static_cast<size_t>(b)];
  const int64_t step = call.shape.width * (source.half ? 2 : 4);
  auto page = std::upper_bound(pages.begin(), pages.end(), first,
                               [](int64_t key, const SourceView::Page& p) { return key < p.end; });
  for (int64_t j = 0; j < count; ++page) {
    const int64_t end = std::min(first + count, page->end) - first;
    for (; j < end; ++j) {
      k[j] = page->k + g * page->k_head + (first + j) * step;
      v[j] = page->v + g * page->v_head + (first + j) * step;
    }
  }
}

void query_tiles(const QuerySet& set, int64_t group, QueryTile* tiles) {
  int64_t head = 0, position = 0;
  for (int64_t begin = 0; begin < group * set.count; begin += kTileQueries, ++tiles) {
    tiles->begin = begin;
    tiles->size = std::min(kTileQueries, group * set.count - begin);
    tiles->lowest = set.count;
    tiles->highest = 0;
    for (int64_t i = 0; i < kTileQueries; ++i) {
      tiles->head[i] = head;
      tiles->position[i] = static_cast<int32_t>(position);
      tiles->lowest = std::min(tiles->lowest, position);
      tiles->highest = std::max(tiles->highest, position);
      if (i + 1 >= tiles->size) continue;  // columns of no query repeat the last one
      if (++position == set.count) position = 0, ++head;
    }
    if (++position == set.count) position = 0, ++head;
  }
}

KeyRange visible_keys(const SourceView& source, int64_t b, int64_t low, int64_t high) {
  const int64_t length = source.shape->length[static_cast<size_t>(b)];
  const int64_t start = source.shape->start[static_cast<size_t>(b)];
  KeyRange out{0, length, 0};
  if (source.keys->sight == Sight::causal) out.end = std::clamp<int64_t>(start + high + 1, 0, length);
  if (source.keys->window > 0) {
    out.begin = std::max<int64_t>(0, start + low - source.keys->window + 1);
    out.keep = source.keys->keep;
  }
  return out;
}

bool needs_added(const AttentionCall& call) {
  return std::any_of(call.sources.begin(), call.sources.end(),
                     [](const SourceView& s) { return s.mask.defined() || s.bias.defined(); });
}

bool needs_factor(const AttentionCall& call) { return call.options->dropout > 0; }

void fill_sights(Sights& sights, const AttentionCall& call, size_t source, const QuerySet& set,
                 const QueryTile& tile, int64_t first, int64_t count, float* added, float* factor,
                 bool transposed) {
  const SourceView& view = call.sources[source];
  sights.queries = tile.size;
  sights.keys = count;
  sights.causal = view.keys->sight == Sight::causal;
  sights.window = view.keys->window;
  sights.keep = std::clamp<int64_t>(view.keys->keep - first, 0, count);
  // Farther than this all comparisons come out the same, and positions stay exact as fp32.
  constexpr int64_t kFar = int64_t{1} << 23;
  const int64_t start = view.shape->start[static_cast<size_t>(set.b)] + set.first - first;
  const auto base = static_cast<int32_t>(std::clamp(start, -kFar, kFar));
  for (int64_t i = 0; i < kTileQueries; ++i) sights.position[i] = base + tile.position[i];
  sights.lowest = base + static_cast<int32_t>(tile.lowest);
  sights.highest = base + static_cast<int32_t>(tile.highest);
  sights.alibi = view.slopes.defined();
  if (sights.alibi) {
    const float* slopes = view.slopes.data_ptr<float>() + set.g * call.group;
    const float scale = static_cast<float>(1 / call.shape.scale);
    for (int64_t i = 0; i < kTileQueries; ++i) sights.slope[i] = slopes[tile.head[i]] * scale;
  }
  sights.added = view.mask.defined() || view.bias.defined() ? added : nullptr;
  sights.factor = needs_factor(call) ? factor : nullptr;
  // Columns and rows that are not real must hold numbers too: their weights are 0, but 0 * NaN is not.
  if (sights.added) std::fill(added, added + kTileQueries * kBlockKeys, 0.0F);
  if (sights.factor) std::fill(factor, factor + kTileQueries * kBlockKeys, 0.0F);
  const int64_t line = transposed ? 1 : kBlockKeys, step = transposed ? kTileQueries : 1;
  for (int64_t i = 0; i < tile.size && (sights.added || sights.factor); ++i) {
    const int64_t head = set.g * call.group + tile.head[i], t = set.first + tile.position[i];
    if (sights.added) fill_added(added + i * line, step, call, view, set.b, head, t, first, count);
    if (!sights.factor) continue;
    float row[kBlockKeys];
    dropout_factors(row, *call.options, {static_cast<int64_t>(source), set.b, head, t, first}, count);
    for (int64_t j = 0; j < count; ++j) factor[i * line + j * step] = row[j];
  }
}

}  // namespace mneme
