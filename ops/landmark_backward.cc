#include "ops/landmark_backward.h"

#include <omp.h>

#include <algorithm>

namespace mneme::landmark {
namespace {

// How a row is cut depends on the row alone, so that its results do not depend on the batch or on the
// threads. Early keys are seen by more queries: parts hold equal shares of the sum over chunks of the chunks
// after them.
std::vector<Item> items_of(const Call& call, int64_t b) {
  constexpr int64_t kWanted = 4, kFewest = 4;  // every part packs all queries anew
  const auto chunks = static_cast<int64_t>(call.layout[b].chunk.size());
  const int64_t parts = call.miss() ? 1
                                    : std::clamp<int64_t>((kWanted + call.key_heads - 1) / call.key_heads, 1,
                                                          std::max<int64_t>(1, chunks / kFewest));
  std::vector<int64_t> ends;
  int64_t seen = 0;
  for (int64_t c = 0; c < chunks; ++c) {
    seen += chunks - c;
    const auto cut = static_cast<int64_t>(ends.size()) + 1;
    const bool full = seen * parts >= cut * chunks * (chunks + 1) / 2;
    if (c == chunks - 1 || (full && cut < parts)) ends.push_back(c + 1);
  }
  std::vector<Item> out;
  for (int64_t g = 0; g < call.key_heads; ++g) {
    for (size_t p = 0; p < ends.size(); ++p) {
      out.push_back(
          {b, g, p ? ends[p - 1] : 0, ends[p], static_cast<int64_t>(p), static_cast<int64_t>(ends.size())});
    }
  }
  return out;
}

// Adds up the parts of the gradients of the queries.
void merge_queries(const Call& call, const std::vector<int64_t>& parts, const Targets& to) {
  const int64_t tiles = call.tiles(), size = call.columns * kLanes;
  at::parallel_for(0, call.rows * call.key_heads * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / tiles, b = head / call.key_heads;
      if (parts[b] == 1) continue;
      float* sum = to.partial + i * size;
      for (int64_t p = 1; p < parts[b]; ++p) {
        const float* part = sum + p * to.partial_stride;
        for (int64_t x = 0; x < size; ++x) sum[x] += part[x];
      }
      const TileLanes lanes = tile_lanes(call, b, head % call.key_heads, i % tiles);
      write_query_gradients(call, lanes, sum, to.dq);
    }
  });
}

}  // namespace

Gradients backward(const Call& call, const Tensor& out, const Tensor& lse, const Tensor& grad_out) {
  Gradients g;
  g.q = at::empty(call.held_q.sizes(), call.held_q.options());
  g.k = at::zeros(call.held_k.sizes(), call.held_k.options());
  g.v = at::zeros(call.held_v.sizes(), call.held_v.options());
  const Tensor given = with_rows(grad_out.to(call.held_q.scalar_type())), saved = lse.contiguous();
  Targets to;
  to.out = strided(out), to.grad = strided(given), to.lse = saved.data_ptr<float>();
  to.dq = strided(g.q), to.dk = strided(g.k), to.dv = strided(g.v);
  Tensor miss;
  if (call.miss()) {
    miss = at::zeros(call.held_miss.sizes(), at::kFloat);
    to.dmiss = miss.data_ptr<float>();
  }

  std::vector<Item> items;
  std::vector<int64_t> parts;
  size_t bytes = 0;
  for (int64_t b = 0; b < call.rows; ++b) {
    for (const Item& item : items_of(call, b)) {
      bytes = std::max(bytes, item_bytes(call, item));
      items.push_back(item);
    }
    parts.push_back(items.back().parts);
  }
  const int64_t most = *std::max_element(parts.begin(), parts.end());
  to.partial_stride = call.rows * call.key_heads * call.tiles() * call.columns * kLanes;
  Tensor partial;
  if (most > 1) {
    partial = at::empty({most, to.partial_stride}, at::kFloat);
    to.partial = partial.data_ptr<float>();
  }
  const int threads = at::get_num_threads();
  std::vector<Scratch>& scratch = thread_scratch(threads, bytes);
#pragma omp parallel num_threads(threads)
  {
    call.matrix->begin();
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < items.size(); ++i) {
      run_item(call, items[i], to, scratch[static_cast<size_t>(omp_get_thread_num())]);
    }
    call.matrix->end();
  }
  if (most > 1) merge_queries(call, parts, to);
  if (miss.defined()) g.miss = miss.to(call.held_miss.scalar_type());
  return g;
}

}  // namespace mneme::landmark
