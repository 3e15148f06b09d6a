// The forward driver: cuts a call into items (some queries of one row and key head, against some of its
// blocks of keys), runs them on all threads, and merges items that share queries.
//
// How a row is cut depends on that row alone, so its results do not depend on the batch or on the threads.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/attention_impl.h"

namespace mneme {
namespace {

constexpr int64_t kSetQueries =
    512;  // rows (queries times heads) of an item: amortises the packing of the keys
constexpr int64_t kDirectRows = 6;    // up to here packing costs more than it saves
constexpr int64_t kSplitBlocks = 8;   // fewest blocks of keys worth an item of their own
constexpr int64_t kWantedItems = 64;  // per row, when there are blocks enough

struct Item {
  QuerySet set;
  int64_t block_begin = 0, block_end = 0;  // counted over all sources
  int64_t slot = -1;                       // of the partial results; -1: the only item of its queries
  bool direct = false;
};

// Items [begin, end) hold the same queries.
struct Merge {
  size_t begin = 0, end = 0;
};

struct Plan {
  std::vector<Item> items;
  std::vector<Merge> merges;
  int64_t slots = 0, most_rows = 0;
};

int64_t blocks_of(const AttentionCall& call, size_t source, int64_t b) {
  return (call.shape.sources[source].length[static_cast<size_t>(b)] + kBlockKeys - 1) / kBlockKeys;
}

void plan_row(const AttentionCall& call, int64_t b, Plan& plan) {
  const int64_t queries = call.shape.count[static_cast<size_t>(b)];
  if (queries == 0) return;
  int64_t blocks = 0;
  for (size_t s = 0; s < call.sources.size(); ++s) blocks += blocks_of(call, s, b);
  const int64_t per_set = std::max(kTileQueries, kSetQueries / call.group / kTileQueries * kTileQueries);
  const int64_t sets = (queries + per_set - 1) / per_set * call.shape.key_heads;
  const int64_t splits =
      std::max<int64_t>(1, std::min((kWantedItems + sets - 1) / sets, blocks / kSplitBlocks));
  const bool direct = queries * call.group <= kDirectRows && call.shape.width % 32 == 0;
  // Later queries see more keys: they go first, so that the last item to end is a short one.
  for (int64_t first = (queries - 1) / per_set * per_set; first >= 0; first -= per_set) {
    for (int64_t g = 0; g < call.shape.key_heads; ++g) {
      const QuerySet set{b, g, first, std::min(per_set, queries - first)};
      plan.most_rows = std::max(plan.most_rows, set.count * call.group);
      const size_t begin = plan.items.size();
      for (int64_t i = 0; i < splits; ++i) {
        plan.items.push_back(
            {set, blocks * i / splits, blocks * (i + 1) / splits, splits > 1 ? plan.slots++ : -1, direct});
      }
      if (splits > 1) plan.merges.push_back({begin, plan.items.size()});
    }
  }
}

// The softmax so far of the queries of a set.
struct State {
  float *top, *sum, *out;  // [rows], [rows, 16], [rows, columns]
};

struct Buffers {
  QueryTile* tiles;
  State state;
  uint32_t *q, *k, *v;
  float *score, *added, *factor;
  Sights* sights;
};

int64_t padded_rows(int64_t rows) { return (rows + kTileQueries - 1) / kTileQueries * kTileQueries; }

// Takes the buffers from `scratch`, or only counts their bytes.
template <class Take>
Buffers lay_out(const AttentionCall& call, int64_t rows, Take take) {
  Buffers out;
  out.tiles = take(QueryTile{}, rows / kTileQueries);
  out.state = {take(float{}, rows), take(float{}, rows * 16), take(float{}, rows * call.columns)};
  out.q = take(uint32_t{}, rows * call.words);
  out.k = take(uint32_t{}, kBlockKeys * call.words);
  out.v = take(uint32_t{}, call.key_words * call.columns);
  out.score = take(float{}, kTileQueries * kScoreStride);
  out.added = needs_added(call) ? take(float{}, kTileQueries * kBlockKeys) : nullptr;
  out.factor = needs_factor(call) ? take(float{}, kTileQueries * kBlockKeys) : nullptr;
  out.sights = take(Sights{}, 1);
  return out;
}

void pack_queries(const AttentionCall& call, const SourceView& source, const QuerySet& set,
                  const QueryTile& tile, uint32_t* to) {
  const void* rows[kTileQueries];
  for (int64_t i = 0; i < kTileQueries; ++i) {
    rows[i] = i < tile.size
                  ? source.q.at(set.b, set.first + tile.position[i], set.g * call.group + tile.head[i])
                  : nullptr;
  }
  call.kernels->pack_rows(to + tile.begin * call.words, call.words, rows, kTileQueries, call.shape.width,
                          call.half);
}

class Runner {
 public:
  Runner(const AttentionCall& call, const Item& item, const Buffers& buffers)
      : call_(call),
        item_(item),
        buffers_(buffers),
        rows_(item.set.count * call.group),
        tiles_((rows_ + kTileQueries - 1) / kTileQueries) {}

  void run() {
    const int64_t rows = tiles_ * kTileQueries;
    query_tiles(item_.set, call_.group, buffers_.tiles);
    std::fill(buffers_.state.top, buffers_.state.top + rows, kLowest);
    std::fill(buffers_.state.sum, buffers_.state.sum + rows * 16, 0.0F);
    std::fill(buffers_.state.out, buffers_.state.out + rows * call_.columns, 0.0F);
    const char* packed = nullptr;
    int64_t before = 0;  // blocks of the sources before
    for (size_t s = 0; s < call_.sources.size(); ++s) {
      const SourceView& source = call_.sources[s];
      const int64_t blocks = blocks_of(call_, s, item_.set.b);
      const int64_t begin = std::max<int64_t>(0, item_.block_begin - before);
      const int64_t end = std::min(blocks, item_.block_end - before);
      before += blocks;
      if (begin >= end) continue;
      for (int64_t i = 0; i < tiles_ && packed != source.q.data; ++i) {
        pack_queries(call_, source, item_.set, buffers_.tiles[i], buffers_.q);
      }
      packed = source.q.data;
      run_source(s, begin, end);
    }
  }

 private:
  void run_source(size_t s, int64_t begin, int64_t end) {
    const SourceView& source = call_.sources[s];
    const QuerySet& set = item_.set;
    const KeyRange range = visible_keys(source, set.b, set.first, set.first + set.count - 1);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlockKeys, count = std::min(kBlockKeys, range.end - first);
      if (!range.sees(first, first + count)) continue;
      const void *k[kBlockKeys], *v[kBlockKeys];
      key_addresses(call_, source, set.b, set.g, first, count, k, v);
      if (item_.direct) {
        direct(s, first, count, k, v);
        continue;
      }
      call_.kernels->pack_across(buffers_.k, call_.words, k, count, call_.shape.width, source.half);
      pad_across(count);
      call_.kernels->pack_down(buffers_.v, call_.key_words, v, count, call_.shape.width, source.half);
      for (int64_t i = 0; i < tiles_; ++i) tile(s, first, count, buffers_.tiles[i]);
    }
  }

  // Kernels take columns by 32, packing pads to 16.
  void pad_across(int64_t count) {
    const int64_t done = (count + 15) / 16 * 16;
    if (done % 32 != 0)
      std::fill(buffers_.k + done * call_.words, buffers_.k + (done + 16) * call_.words, 0U);
  }

  void tile(size_t s, int64_t first, int64_t count, const QueryTile& tile) {
    const int64_t at = tile.begin;
    const KeyRange range = visible_keys(call_.sources[s], item_.set.b, item_.set.first + tile.lowest,
                                        item_.set.first + tile.highest);
    const int64_t seen = std::min(count, range.end - first);
    if (!range.sees(first, first + seen)) return;
    fill_sights(*buffers_.sights, call_, s, item_.set, tile, first, seen, buffers_.added, buffers_.factor,
                false);
    call_.kernels->forward({buffers_.sights, buffers_.q + at * call_.words, buffers_.k, buffers_.v,
                            call_.words, call_.columns, call_.scale_log2, buffers_.score,
                            buffers_.state.top + at, buffers_.state.sum + at * 16,
                            buffers_.state.out + at * call_.columns});
  }

  void direct(size_t s, int64_t first, int64_t count, const void* const* k, const void* const* v) {
    fill_sights(*buffers_.sights, call_, s, item_.set, buffers_.tiles[0], first, count, buffers_.added,
                buffers_.factor, false);
    call_.kernels->direct(
        {buffers_.sights, buffers_.q, k, v, call_.shape.width, call_.words, call_.columns, call_.scale_log2,
         buffers_.score, buffers_.state.top, buffers_.state.sum, buffers_.state.out},
        call_.sources[s].half);
  }

  const AttentionCall& call_;
  const Item& item_;
  const Buffers& buffers_;
  const int64_t rows_, tiles_;
};

struct Results {
  Tensor out, lse;
  char* out_data = nullptr;
  float* lse_data = nullptr;  // may be null
};

void write_result(const AttentionCall& call, const Results& results, const QuerySet& set,
                  const QueryTile& tile, int64_t i, float top, float sum, const float* out) {
  const int64_t head = set.g * call.group + tile.head[i], t = set.first + tile.position[i];
  const int64_t at = (set.b * call.shape.queries + t) * call.shape.heads + head;
  call.kernels->write_row(results.out_data + at * call.shape.width * call.element(), out,
                          sum > 0 ? 1 / sum : 0, call.shape.width, call.half);
  if (!results.lse_data) return;
  const bool nothing = !(top > kLowest) && sum == 0;
  results.lse_data[(set.b * call.shape.heads + head) * call.shape.queries + t] =
      nothing ? -std::numeric_limits<float>::infinity()
              : top * static_cast<float>(call.shape.scale) + std::log(sum);
}

float total(const float* sum) {
  float part[4];
  for (int i = 0; i < 4; ++i) part[i] = (sum[i] + sum[4 + i]) + (sum[8 + i] + sum[12 + i]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// What an item without all keys leaves: [rows, columns] and, of each row, its maximum and sum.
struct Partial {
  float *top, *sum, *out;
  Partial(const AttentionCall& call, const Plan& plan, float* data, int64_t slot)
      : top(data + slot * plan.most_rows * (call.columns + 2)),
        sum(top + plan.most_rows),
        out(sum + plan.most_rows) {}
};

Buffers take_buffers(const AttentionCall& call, const Plan& plan, Scratch& scratch) {
  scratch.reset();
  return lay_out(call, padded_rows(plan.most_rows),
                 [&](auto kind, int64_t n) { return scratch.take<decltype(kind)>(n); });
}

void merge_row(const AttentionCall& call, const Plan& plan, const Results& results, float* partials,
               const Merge& merge, const QueryTile& tile, int64_t i, float* out) {
  const int64_t row = tile.begin + i;
  float top = kLowest, sum = 0;
  for (size_t p = merge.begin; p < merge.end; ++p) {
    top = std::max(top, Partial(call, plan, partials, plan.items[p].slot).top[row]);
  }
  std::fill(out, out + call.columns, 0.0F);
  for (size_t p = merge.begin; p < merge.end; ++p) {
    const Partial part(call, plan, partials, plan.items[p].slot);
    const float weight = std::exp2((part.top[row] - top) * call.scale_log2);
    sum += weight * part.sum[row];
    const float* from = part.out + row * call.columns;
    for (int64_t c = 0; c < call.columns; ++c) out[c] += weight * from[c];
  }
  write_result(call, results, plan.items[merge.begin].set, tile, i, top, sum, out);
}

void run_merge(const AttentionCall& call, const Plan& plan, const Results& results, float* partials,
               const Merge& merge, Scratch& scratch) {
  const QuerySet& set = plan.items[merge.begin].set;
  const Buffers buffers = take_buffers(call, plan, scratch);
  query_tiles(set, call.group, buffers.tiles);
  for (int64_t row = 0; row < set.count * call.group; ++row) {
    merge_row(call, plan, results, partials, merge, buffers.tiles[row / kTileQueries], row % kTileQueries,
              buffers.state.out);
  }
}

void run_item(const AttentionCall& call, const Plan& plan, const Results& results, float* partials,
              const Item& item, Scratch& scratch) {
  const Buffers buffers = take_buffers(call, plan, scratch);
  Runner(call, item, buffers).run();
  const State& state = buffers.state;
  const int64_t rows = item.set.count * call.group;
  for (int64_t row = 0; row < rows; ++row) {
    const float sum = total(state.sum + row * 16), *out = state.out + row * call.columns;
    if (item.slot < 0) {
      write_result(call, results, item.set, buffers.tiles[row / kTileQueries], row % kTileQueries,
                   state.top[row], sum, out);
    } else {
      const Partial part(call, plan, partials, item.slot);
      part.top[row] = state.top[row];
      part.sum[row] = sum;
      std::copy_n(out, call.columns, part.out + row * call.columns);
    }
  }
}

void run_plan(const AttentionCall& call, const Plan& plan, const Results& results) {
  size_t bytes = 0;
  lay_out(call, padded_rows(plan.most_rows), [&](auto kind, int64_t n) {
    bytes += scratch_bytes<decltype(kind)>(n);
    return static_cast<decltype(kind)*>(nullptr);
  });
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  std::vector<Scratch>& scratch = thread_scratch(threads, bytes);
  static thread_local Scratch partial_scratch;
  float* partials = nullptr;
  if (plan.slots > 0) {
    const int64_t n = plan.slots * plan.most_rows * (call.columns + 2);
    partial_scratch.reserve(scratch_bytes<float>(n));
    partials = partial_scratch.take<float>(n);
  }
  const auto items = static_cast<int64_t>(plan.items.size()),
             merges = static_cast<int64_t>(plan.merges.size());
#pragma omp parallel num_threads(threads) if (threads > 1 && items > 1)
  {
    call.kernels->begin();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < items; ++i) {
      run_item(call, plan, results, partials, plan.items[static_cast<size_t>(i)],
               scratch[static_cast<size_t>(omp_get_thread_num())]);
    }
    call.kernels->end();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < merges; ++i) {
      run_merge(call, plan, results, partials, plan.merges[static_cast<size_t>(i)],
                scratch[static_cast<size_t>(omp_get_thread_num())]);
    }
  }
}

}  // namespace

Tensor attention_forward(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options,
                         Tensor* lse) {
  at::NoGradGuard no_grad;
  const AttentionCall call = prepare_call(q, sources, options);
  static thread_local Plan plan;
  plan.items.clear();
  plan.merges.clear();
  plan.slots = plan.most_rows = 0;
  bool ragged = false;
  for (int64_t b = 0; b < call.shape.rows; ++b) {
    plan_row(call, b, plan);
    ragged = ragged || call.shape.count[static_cast<size_t>(b)] != call.shape.queries;
  }
  Results results;
  results.out = ragged ? at::zeros(q.sizes(), q.options()) : at::empty(q.sizes(), q.options());
  results.out_data = static_cast<char*>(results.out.data_ptr());
  if (lse) {
    results.lse = at::full({call.shape.rows, call.shape.heads, call.shape.queries},
                           -std::numeric_limits<double>::infinity(), q.options().dtype(at::kFloat));
    results.lse_data = results.lse.data_ptr<float>();
    *lse = results.lse;
  }
  if (!plan.items.empty()) run_plan(call, plan, results);
  return results.out;
}

}  // namespace mneme
