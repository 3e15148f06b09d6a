// The backward driver. An item is one row, key head and run of keys of a source: it owns these keys'
// gradients and adds up its share of the queries' gradients, so that no two threads write the same number.
// How a row is cut depends on that row alone; shares are added in a fixed order.

#include <omp.h>

#include <algorithm>

#include "ops/attention_impl.h"

namespace mneme {
namespace {

constexpr double kLog2E = 1.4426950408889634;
constexpr int64_t kQueryBlock = 128;                    // queries of one pass over a block of keys
constexpr int64_t kTiles = kQueryBlock / kTileQueries;  // of such a block
constexpr int64_t kSubs = kBlockKeys / 32;              // steps of 32 keys in a block
constexpr int64_t kWantedItems = 4;                     // per row
constexpr int64_t kSplitBlocks = 8;                     // fewest blocks of keys of an item

// Blocks that are not full are padded to this only, so that short segments cost what they are.
constexpr int64_t kPadding = 32;
int64_t padded(int64_t n) { return (n + kPadding - 1) / kPadding * kPadding; }

struct Item {
  int64_t b = 0, g = 0, block_begin = 0, block_end = 0;
  size_t source = 0;
  int64_t share = -1;  // number of its share of the queries' gradients; -1: it is the only one
};

// Where the gradient of one tensor of queries gathers: the call's, or a source's own.
struct Target {
  Tensor grad;                 // [B, T, H, K]
  std::vector<int64_t> first;  // per row, its first share; [B + 1]
};

struct Plan {
  std::vector<Item> items;
  std::vector<Target> targets;
  std::vector<int64_t> target_of;  // per source; -1: not wanted
  int64_t shares = 0, most_rows = 0;
};

struct Job {
  AttentionCall call;
  Plan plan;
  Strided out, grad_out;
  Tensor lse, grad_lse;
  std::vector<Tensor> dk, dv;  // per source; undefined: not wanted
  Tensor shares;               // fp32 [shares, T, H, K]
};

int64_t blocks_of(const AttentionCall& call, size_t source, int64_t b) {
  return (call.shape.sources[source].length[static_cast<size_t>(b)] + kBlockKeys - 1) / kBlockKeys;
}

bool source_wanted(const Job& job, size_t s) {
  return job.plan.target_of[s] >= 0 || job.dk[s].defined() || job.dv[s].defined();
}

void plan_source(Job& job, int64_t b, size_t s) {
  const int64_t heads = job.call.shape.key_heads, blocks = blocks_of(job.call, s, b);
  if (blocks == 0 || !source_wanted(job, s)) return;
  const int64_t runs =
      std::max<int64_t>(1, std::min((kWantedItems + heads - 1) / heads, blocks / kSplitBlocks));
  for (int64_t i = 0; i < runs; ++i) {
    const int64_t share = job.plan.target_of[s] >= 0 ? job.plan.shares++ : -1;
    for (int64_t g = 0; g < heads; ++g) {
      job.plan.items.push_back({b, g, blocks * i / runs, blocks * (i + 1) / runs, s, share});
    }
  }
}

// Sources that share a target stand together in the order of shares.
void plan_items(Job& job) {
  const CallShape& shape = job.call.shape;
  for (size_t t = 0; t <= job.plan.targets.size(); ++t) {  // one more turn: the sources without a target
    const auto target = t < job.plan.targets.size() ? static_cast<int64_t>(t) : -1;
    for (int64_t b = 0; b < shape.rows; ++b) {
      const int64_t count = shape.count[static_cast<size_t>(b)];
      job.plan.most_rows = std::max(job.plan.most_rows, count * job.call.group);
      if (target >= 0) job.plan.targets[t].first.push_back(job.plan.shares);
      for (size_t s = 0; s < job.call.sources.size() && count > 0; ++s) {
        if (job.plan.target_of[s] == target) plan_source(job, b, s);
      }
    }
    if (target >= 0) job.plan.targets[t].first.push_back(job.plan.shares);
  }
  for (Item& item : job.plan.items) {
    const int64_t target = job.plan.target_of[item.source];
    if (target < 0) continue;
    const std::vector<int64_t>& first = job.plan.targets[static_cast<size_t>(target)].first;
    const auto b = static_cast<size_t>(item.b);
    if (first[b + 1] - first[b] == 1) item.share = -1;
  }
}

struct Buffers {
  QueryTile* tiles;  // all of the item
  // Of all queries of the item, by blocks of 128, the last one padded to whole tiles: panels with the queries
  // across, [tiles, 2, words, 16], and down, [columns / 16, query words, 16]; gradients [columns, queries];
  // lse in base 2 and delta.
  uint32_t *q_across, *grad_across, *q_down, *grad_down;
  float *dq, *lse, *delta;
  // Of a block of keys.
  uint32_t *k, *v, *k_turned;
  float *dk, *dv;
  // Of a block of each: weights and score gradients as rows [keys, query words], the latter as a panel too.
  uint32_t *p, *ds, *ds_panel;
  float *score, *turned, *added, *factor;
  Sights* sights;
};

template <class Take>
Buffers lay_out(const AttentionCall& call, int64_t most_rows, Take take) {
  const int64_t rows = (most_rows + kQueryBlock - 1) / kQueryBlock * kQueryBlock;
  const int64_t per_word = call.kernels->pairs ? 2 : 1;
  const int64_t across = rows * call.words, down = rows / per_word * call.columns;
  const int64_t weights = kBlockKeys * kQueryBlock / per_word;
  Buffers out;
  out.tiles = take(QueryTile{}, rows / kTileQueries);
  out.q_across = take(uint32_t{}, across);
  out.grad_across = take(uint32_t{}, across);
  out.q_down = take(uint32_t{}, down);
  out.grad_down = take(uint32_t{}, down);
  out.dq = take(float{}, rows * call.columns);
  out.lse = take(float{}, rows);
  out.delta = take(float{}, rows);
  out.k = take(uint32_t{}, kBlockKeys * call.words);
  out.v = take(uint32_t{}, kBlockKeys * call.words);
  out.k_turned = take(uint32_t{}, call.columns * call.key_words);
  out.dk = take(float{}, kBlockKeys * call.columns);
  out.dv = take(float{}, kBlockKeys * call.columns);
  out.p = take(uint32_t{}, weights);
  out.ds = take(uint32_t{}, weights);
  out.ds_panel = take(uint32_t{}, weights);
  out.score = take(float{}, 4 * 32 * kTileQueries);
  out.turned = take(float{}, kQueryBlock * call.columns);
  out.added = needs_added(call) ? take(float{}, kTileQueries * kBlockKeys) : nullptr;
  out.factor = needs_factor(call) ? take(float{}, kTileQueries * kBlockKeys) : nullptr;
  out.sights = take(Sights{}, 1);
  return out;
}

class Runner {
 public:
  Runner(Job& job, const Item& item, const Buffers& buffers)
      : job_(job),
        call_(job.call),
        kernels_(*job.call.kernels),
        item_(item),
        source_(job.call.sources[item.source]),
        buffers_(buffers),
        set_{item.b, item.g, 0, job.call.shape.count[static_cast<size_t>(item.b)]},
        rows_(set_.count * job.call.group),
        per_word_(job.call.kernels->pairs ? 2 : 1),
        query_words_(kQueryBlock / per_word_) {}

  void run() {
    const int64_t blocks = (rows_ + kQueryBlock - 1) / kQueryBlock;
    query_tiles(set_, call_.group, buffers_.tiles);
    for (int64_t i = 0; i < blocks; ++i) pack_queries(i);
    std::fill(buffers_.dq, buffers_.dq + padded(rows_) * call_.columns, 0.0F);
    for (int64_t block = item_.block_begin; block < item_.block_end; ++block) {
      const int64_t first = block * kBlockKeys;
      const int64_t length = source_.shape->length[static_cast<size_t>(item_.b)];
      const int64_t count = std::min(kBlockKeys, length - first);
      std::fill(buffers_.dk, buffers_.dk + padded(count) * call_.columns, 0.0F);
      std::fill(buffers_.dv, buffers_.dv + padded(count) * call_.columns, 0.0F);
      const KeyRange range = visible_keys(source_, item_.b, 0, set_.count - 1);
      if (range.sees(first, std::min(first + count, range.end))) {
        pack_keys(first, count);
        for (int64_t i = 0; i < blocks; ++i) pass(i, first, count);
      }
      write_keys(job_.dk[item_.source], buffers_.dk, static_cast<float>(call_.shape.scale), first, count);
      write_keys(job_.dv[item_.source], buffers_.dv, 1, first, count);
    }
    if (job_.plan.target_of[item_.source] < 0) return;
    for (int64_t i = 0; i < blocks; ++i) write_queries(i);
  }

 private:
  int64_t head_of(int64_t row) const {
    return item_.g * call_.group + buffers_.tiles[row / kTileQueries].head[row % kTileQueries];
  }
  int64_t query_of(int64_t row) const {
    return buffers_.tiles[row / kTileQueries].position[row % kTileQueries];
  }

  // Queries of a block, padded.
  int64_t tall(int64_t block) const { return std::min(kQueryBlock, padded(rows_ - block * kQueryBlock)); }

  void pack_queries(int64_t block) {
    const void *q[kQueryBlock], *grad[kQueryBlock];
    const int64_t begin = block * kQueryBlock, n = std::min(kQueryBlock, rows_ - begin), all = tall(block);
    const int64_t width = call_.shape.width, words = all / per_word_;
    for (int64_t i = 0; i < all; ++i) {
      const int64_t row = begin + i, head = i < n ? head_of(row) : 0, t = i < n ? query_of(row) : 0;
      q[i] = i < n ? source_.q.at(item_.b, t, head) : nullptr;
      grad[i] = i < n ? job_.grad_out.at(item_.b, t, head) : nullptr;
      buffers_.lse[row] = 1e30F;  // no query: all weights 0
      buffers_.delta[row] = 0;
      if (i >= n) continue;
      const int64_t at = (item_.b * call_.shape.heads + head) * call_.shape.queries + t;
      const float lse = job_.lse.data_ptr<float>()[at];
      if (lse < kLowest) continue;  // nothing seen
      buffers_.lse[row] = lse * static_cast<float>(kLog2E);
      buffers_.delta[row] = kernels_.dot(grad[i], job_.out.at(item_.b, t, head), width, call_.half);
      if (job_.grad_lse.defined()) buffers_.delta[row] -= job_.grad_lse.data_ptr<float>()[at];
    }
    const int64_t across = block * kQueryBlock * call_.words, down = block * query_words_ * call_.columns;
    kernels_.pack_across(buffers_.q_across + across, call_.words, q, all, width, call_.half);
    kernels_.pack_across(buffers_.grad_across + across, call_.words, grad, all, width, call_.half);
    kernels_.pack_down(buffers_.q_down + down, words, q, all, width, call_.half);
    kernels_.pack_down(buffers_.grad_down + down, words, grad, all, width, call_.half);
  }

  void pack_keys(int64_t first, int64_t count) {
    const void *k[kBlockKeys], *v[kBlockKeys];
    key_addresses(call_, source_, item_.b, item_.g, first, count, k, v);
    const int64_t all = padded(count);
    std::fill(k + count, k + all, nullptr);
    std::fill(v + count, v + all, nullptr);
    kernels_.pack_rows(buffers_.k, call_.words, k, all, call_.shape.width, source_.half);
    kernels_.pack_rows(buffers_.v, call_.words, v, all, call_.shape.width, source_.half);
    if (job_.plan.target_of[item_.source] < 0) return;
    turned_words_ = all / per_word_;
    kernels_.pack_turned(buffers_.k_turned, turned_words_, k, count, call_.shape.width, source_.half);
  }

  // One block of queries against the block of keys.
  void pass(int64_t block, int64_t first, int64_t count) {
    // Steps of 32 keys that each tile of queries sees are [0, seen[tile]); tiles that see a step are in
    // [from[step], to[step]).
    int64_t seen[kTiles] = {}, from[kSubs], to[kSubs] = {};
    std::fill(from, from + kSubs, kTiles);
    for (int64_t tile = 0; tile < kTiles; ++tile) {
      seen[tile] = weigh(block, tile, first, count);
      for (int64_t step = 0; step < seen[tile]; ++step) {
        from[step] = std::min(from[step], tile);
        to[step] = tile + 1;
      }
    }
    // What lies between the tiles that see a step must be zero.
    for (int64_t step = 0; step < kSubs; ++step) {
      for (int64_t tile = from[step]; tile < to[step]; ++tile) {
        if (step >= seen[tile]) clear(step, tile);
      }
    }
    for (int64_t step = 0; step < kSubs; ++step) {
      if (from[step] < to[step]) add_keys(block, step, from[step], to[step]);
    }
    if (job_.plan.target_of[item_.source] < 0) return;
    const int64_t tile_columns = kTileQueries * call_.key_words;
    for (int64_t tile = 0; tile < kTiles; ++tile) {
      if (seen[tile] == 0) continue;
      kernels_.product(buffers_.dq + block * kQueryBlock * call_.columns + tile * kTileQueries, tall(block),
                       buffers_.k_turned, turned_words_, buffers_.ds_panel + tile * tile_columns,
                       call_.key_words, call_.columns, kTileQueries, seen[tile] * 32 / per_word_);
    }
  }

  // Weights and score gradients of one tile; the steps of 32 keys that it made.
  int64_t weigh(int64_t block, int64_t number, int64_t first, int64_t count) {
    const int64_t at = block * kQueryBlock + number * kTileQueries;
    if (at >= rows_) return 0;
    const QueryTile& tile = buffers_.tiles[at / kTileQueries];
    const KeyRange range = visible_keys(source_, item_.b, tile.lowest, tile.highest);
    const int64_t seen = std::min(count, range.end - first);
    if (!range.sees(first, first + seen)) return 0;
    fill_sights(*buffers_.sights, call_, item_.source, set_, tile, first, seen, buffers_.added,
                buffers_.factor, true);
    BackwardTile t{};
    t.sights = buffers_.sights;
    t.k = buffers_.k, t.v = buffers_.v;
    t.q = buffers_.q_across + at * call_.words;
    t.dout = buffers_.grad_across + at * call_.words;
    t.words = call_.words;
    t.scale_log2 = call_.scale_log2;
    t.lse = buffers_.lse + at, t.delta = buffers_.delta + at;
    t.score = buffers_.score;
    t.p = buffers_.p + number * kTileQueries / per_word_;
    t.ds = buffers_.ds + number * kTileQueries / per_word_;
    t.stride = query_words_;
    t.ds_panel = buffers_.ds_panel + number * kTileQueries * call_.key_words;
    t.panel_words = call_.key_words;
    kernels_.backward(t);
    return (seen + 31) / 32;
  }

  void clear(int64_t step, int64_t tile) {
    const int64_t words = kTileQueries / per_word_, at = step * 32 * query_words_ + tile * words;
    for (int64_t i = 0; i < 32; ++i) {
      std::fill_n(buffers_.p + at + i * query_words_, words, 0U);
      std::fill_n(buffers_.ds + at + i * query_words_, words, 0U);
    }
  }

  // dv += p^T dout and dk += ds^T q for 32 keys and tiles [from, to) of queries.
  void add_keys(int64_t block, int64_t step, int64_t from, int64_t to) {
    const int64_t tile_words = kTileQueries / per_word_, words = (to - from) * tile_words;
    const int64_t row = step * 32, left = row * query_words_ + from * tile_words;
    const int64_t down = block * query_words_ * call_.columns + from * tile_words * 16;
    const int64_t deep = tall(block) / per_word_;
    if (job_.dv[item_.source].defined()) {
      kernels_.product(buffers_.dv + row * call_.columns, call_.columns, buffers_.p + left, query_words_,
                       buffers_.grad_down + down, deep, 32, call_.columns, words);
    }
    if (job_.dk[item_.source].defined()) {
      kernels_.product(buffers_.dk + row * call_.columns, call_.columns, buffers_.ds + left, query_words_,
                       buffers_.q_down + down, deep, 32, call_.columns, words);
    }
  }

  void write_keys(const Tensor& grad, const float* from, float scale, int64_t first, int64_t count) const {
    if (!grad.defined()) return;
    const int64_t size = call_.shape.width * static_cast<int64_t>(grad.element_size());
    char* to = static_cast<char*>(grad.data_ptr());
    for (int64_t j = 0; j < count; ++j) {
      const int64_t at = (item_.b * source_.shape->keys + first + j) * call_.shape.key_heads + item_.g;
      kernels_.write_row(to + at * size, from + j * call_.columns, scale, call_.shape.width, source_.half);
    }
  }

  void write_queries(int64_t block) const {
    kernels_.turn(buffers_.turned, buffers_.dq + block * kQueryBlock * call_.columns, call_.columns,
                  tall(block));
    const auto target = static_cast<size_t>(job_.plan.target_of[item_.source]);
    const bool whole = item_.share < 0;
    const Tensor& to = whole ? job_.plan.targets[target].grad : job_.shares;
    const int64_t line = whole ? item_.b : item_.share;
    const int64_t size = call_.shape.width * static_cast<int64_t>(to.element_size());
    const int64_t begin = block * kQueryBlock, n = std::min(kQueryBlock, rows_ - begin);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at =
          (line * call_.shape.queries + query_of(begin + i)) * call_.shape.heads + head_of(begin + i);
      kernels_.write_row(static_cast<char*>(to.data_ptr()) + at * size, buffers_.turned + i * call_.columns,
                         static_cast<float>(call_.shape.scale), call_.shape.width, whole && call_.half);
    }
  }

  Job& job_;
  const AttentionCall& call_;
  const AttentionKernels& kernels_;
  const Item& item_;
  const SourceView& source_;
  const Buffers& buffers_;
  const QuerySet set_;
  const int64_t rows_, per_word_, query_words_;
  int64_t turned_words_ = 0;  // of the block of keys, padded
};

void run_items(Job& job) {
  size_t bytes = 0;
  lay_out(job.call, job.plan.most_rows, [&](auto kind, int64_t n) {
    bytes += scratch_bytes<decltype(kind)>(n);
    return static_cast<decltype(kind)*>(nullptr);
  });
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  std::vector<Scratch>& scratch = thread_scratch(threads, bytes);
  const auto items = static_cast<int64_t>(job.plan.items.size());
#pragma omp parallel num_threads(threads) if (threads > 1 && items > 1)
  {
    job.call.kernels->begin();
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < items; ++i) {
      Scratch& own = scratch[static_cast<size_t>(omp_get_thread_num())];
      own.reset();
      const Buffers buffers = lay_out(job.call, job.plan.most_rows,
                                      [&](auto kind, int64_t n) { return own.take<decltype(kind)>(n); });
      Runner(job, job.plan.items[static_cast<size_t>(i)], buffers).run();
    }
    job.call.kernels->end();
  }
}

// Adds up the shares of rows that have several.
void add_shares(const Job& job) {
  for (const Target& target : job.plan.targets) {
    for (int64_t b = 0; b < job.call.shape.rows; ++b) {
      const int64_t first = target.first[static_cast<size_t>(b)],
                    end = target.first[static_cast<size_t>(b) + 1];
      if (end - first < 2) continue;
      const int64_t count = job.call.shape.count[static_cast<size_t>(b)];
      Tensor sum = job.shares[first].narrow(0, 0, count);
      for (int64_t i = first + 1; i < end; ++i) sum.add_(job.shares[i].narrow(0, 0, count));
      target.grad[b].narrow(0, 0, count).copy_(sum);
    }
  }
}

// Zeroes the gradients that items leave holes in: of padding, of keys behind a row's end, of queries without
// keys.
void clear_unwritten(const Job& job) {
  const CallShape& shape = job.call.shape;
  const bool full =
      std::all_of(shape.count.begin(), shape.count.end(), [&](int64_t n) { return n == shape.queries; });
  for (const Target& target : job.plan.targets) {
    bool whole = full;
    for (size_t b = 0; b + 1 < target.first.size(); ++b)
      whole = whole && target.first[b] < target.first[b + 1];
    if (!whole) target.grad.zero_();
  }
  for (size_t s = 0; s < job.call.sources.size(); ++s) {
    bool whole = true;
    for (size_t b = 0; b < shape.count.size(); ++b) {
      whole = whole && shape.count[b] > 0 && shape.sources[s].length[b] == shape.sources[s].keys;
    }
    if (!whole && job.dk[s].defined()) job.dk[s].zero_();
    if (!whole && job.dv[s].defined()) job.dv[s].zero_();
  }
}

}  // namespace

AttentionGradients attention_backward(const Tensor& q, const std::vector<Keys>& sources,
                                      const AttentionOptions& options, const Tensor& out, const Tensor& lse,
                                      const Tensor& grad_out, const Tensor& grad_lse,
                                      const WantedGradients& wanted) {
  at::NoGradGuard no_grad;
  Job job;
  job.call = prepare_call(q, sources, options);
  AttentionGradients result;
  auto target = [&](Tensor& grad) {
    grad = at::empty(q.sizes(), q.options());
    job.plan.targets.push_back({grad, {}});
    return static_cast<int64_t>(job.plan.targets.size()) - 1;
  };
  const int64_t shared = wanted.q ? target(result.q) : -1;
  result.qs.resize(sources.size());
  for (size_t s = 0; s < sources.size(); ++s) {
    const bool own = sources[s].q.defined();
    job.plan.target_of.push_back(own ? (wanted.qs[s] ? target(result.qs[s]) : -1) : shared);
    result.k.push_back(wanted.k[s] ? at::empty(sources[s].k.sizes(), sources[s].k.options()) : Tensor());
    result.v.push_back(wanted.v[s] ? at::empty(sources[s].v.sizes(), sources[s].v.options()) : Tensor());
  }
  job.dk = result.k;
  job.dv = result.v;
  const Tensor out_rows = with_rows(out), grad_rows = with_rows(grad_out.to(q.scalar_type()));
  job.out = strided(out_rows);
  job.grad_out = strided(grad_rows);
  job.lse = lse.contiguous();
  if (grad_lse.defined()) job.grad_lse = grad_lse.to(at::kFloat).contiguous();
  plan_items(job);
  clear_unwritten(job);
  if (job.plan.items.empty()) return result;
  const CallShape& shape = job.call.shape;
  const bool several =
      std::any_of(job.plan.items.begin(), job.plan.items.end(), [](const Item& i) { return i.share >= 0; });
  if (several) {
    job.shares =
        at::empty({job.plan.shares, shape.queries, shape.heads, shape.width}, q.options().dtype(at::kFloat));
  }
  run_items(job);
  if (several) add_shares(job);
  return result;
}

}  // namespace mneme
