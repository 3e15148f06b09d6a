// Reading of selected blocks. The (query, head, block) triples of one key head are grouped by block; a
// block's keys and values are brought in once for all its queries. Every triple leaves its gate's score and
// the mean value of the block; then each query adds up its own, in order of the blocks.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/landmark_few.h"
#include "ops/landmark_retrieval_impl.h"

namespace mneme::landmark {
namespace {

// One query in one head and one of its blocks, by its place in `selected`, and the slot the block stands in.
struct Triple {
  int64_t at = 0;
  int64_t slot = 0;
};

struct Item {
  int64_t g = 0, page = 0;
  size_t begin = 0, end = 0;  // triples
};

class Recall {
 public:
  Recall(const Tensor& queries, const LandmarkPages& pages, const LandmarkSearch& options,
         const SearchShape& shape)
      : shape_(shape),
        options_(options),
        pages_(pages),
        kernels_(choose_kernels(queries.scalar_type() == at::kBFloat16)) {
    half_ = queries.scalar_type() == at::kBFloat16;
    queries_ = queries.stride(3) == 1 ? queries : queries.contiguous();
    per_word_ = kernels_.matrix->pairs ? 2 : 1;
    words_ = rounded_up(rounded_up(shape.K, per_word_) / per_word_, 16);
    columns_ = rounded_up(shape.K, 16);
    keys_ = pages.page[0].k.size(1) - 1;
    scale_log2_ = static_cast<float>(shape.scale) * kLog2E;
    const int64_t triples = shape.T * shape.H * shape.read;
    gate_.resize(static_cast<size_t>(triples));
    value_ = at::empty({triples, shape.K}, at::kFloat);
  }

  void group(const Tensor& selected) {
    const int64_t H = shape_.H, read = shape_.read, share = shape_.share(), N = shape_.N;
    const auto held = static_cast<int64_t>(pages_.page.size());
    const std::vector<int32_t> place = places_of(pages_, selected);
    std::vector<size_t> first(static_cast<size_t>(shape_.G * held) + 1, 0);
    auto bin = [&](size_t at) {
      return static_cast<size_t>(static_cast<int64_t>(at) / read % H / share * held + place[at]);
    };
    for (size_t at = 0; at < place.size(); ++at) ++first[bin(at) + 1];
    for (size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
    for (size_t i = 0; i + 1 < first.size(); ++i) {
      if (first[i] == first[i + 1]) continue;
      items_.push_back(
          {static_cast<int64_t>(i) / held, static_cast<int64_t>(i) % held, first[i], first[i + 1]});
    }
    triples_.resize(place.size());
    for (size_t i = 0; i < place.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const int32_t rank = pages_.rank[static_cast<size_t>(place[i])];
      triples_[first[bin(i)]++] = {at, landmark_read_slot(at % read, rank, N, read, options_.latest_shifted)};
    }
  }

  size_t scratch_size() const {
    const int64_t rows = rounded_up(keys_ + 1, 32);
    const size_t many =
        scratch_bytes<uint32_t>(rows * words_) + scratch_bytes<uint32_t>(columns_ * rows / per_word_) +
        scratch_bytes<uint32_t>(kLanes * words_) + scratch_bytes<float>(rows * kLanes) +
        scratch_bytes<uint32_t>(rows / per_word_ * kLanes) + scratch_bytes<float>(columns_ * kLanes);
    return std::max(many, FewReader::bytes(shape_.K));
  }

  void read_all() {
    const size_t step = pages_.release ? items_together() : items_.size();
    for (size_t begin = 0; begin < items_.size(); begin += step) {
      read(begin, std::min(items_.size(), begin + step));
      if (pages_.release) pages_.release();
    }
  }

  Tensor merge(const Tensor& local, const Tensor& lse, Tensor* merged) const {
    const Tensor near = local.contiguous(), sums = lse.to(at::kFloat).contiguous();
    const Tensor out = at::empty(near.sizes(), near.options());
    if (merged) *merged = at::empty({shape_.H, shape_.T}, at::kFloat);
    const int64_t T = shape_.T, H = shape_.H, K = shape_.K;
    float* total = merged ? merged->data_ptr<float>() : nullptr;
    at::parallel_for(0, T * H, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> sum(static_cast<size_t>(K));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = i % H * T + i / H;  // in [H, T]
        const float log_sum = merge_one(i, row_of(near, i), sums.data_ptr<float>()[at], sum.data());
        if (total) total[at] = log_sum;
        kernels_.matrix->write_row(const_cast<char*>(row_of(out, i)), sum.data(), 1, K, half_);
      }
    });
    return out;
  }

 private:
  const char* row_of(const Tensor& t, int64_t i) const {
    return static_cast<const char*>(t.data_ptr()) + i * shape_.K * static_cast<int64_t>(t.element_size());
  }
  const void* query(const Triple& triple) const {
    const int64_t i = triple.at / shape_.read, t = i / shape_.H, h = i % shape_.H;
    return static_cast<const char*>(queries_.data_ptr()) +
           (t * queries_.stride(0) + h * queries_.stride(1) + triple.slot * queries_.stride(2)) *
               queries_.element_size();
  }
  float* value(const Triple& triple) const { return value_.data_ptr<float>() + triple.at * shape_.K; }
  const LandmarkPage& page(const Item& item) const { return pages_.page[static_cast<size_t>(item.page)]; }
  // Rows of a page's keys or values: the tokens, then the landmark.
  void page_rows(const Tensor& t, int64_t g, const void** rows) const {
    const int64_t step = shape_.K * static_cast<int64_t>(t.element_size());
    const char* at = static_cast<const char*>(t.data_ptr()) + g * (keys_ + 1) * step;
    for (int64_t j = 0; j <= keys_; ++j) rows[j] = at + j * step;
  }

  // A touch of a mapped file brings in the 64 KiB around it.
  size_t items_together() const {
    constexpr int64_t kAround = 1 << 16;
    const int64_t bytes = (keys_ + 1) * shape_.K * (half_ ? 2 : 4);
    return static_cast<size_t>(std::max<int64_t>(1, pages_.together / (2 * (bytes + kAround))));
  }

  void read(size_t from, size_t to) {
    const int threads = at::get_num_threads();
    std::vector<Scratch>& scratch = thread_scratch(threads, scratch_size());
#pragma omp parallel num_threads(threads)
    {
      kernels_.matrix->begin();
#pragma omp for schedule(dynamic)
      for (size_t i = from; i < to; ++i) {
        Scratch& mine = scratch[static_cast<size_t>(omp_get_thread_num())];
        mine.reset();
        const bool few = items_[i].end - items_[i].begin <= static_cast<size_t>(kFewLanes);
        if (few && shape_.K % 32 == 0) {
          read_few(items_[i], mine);
        } else {
          read_many(items_[i], mine);
        }
      }
      kernels_.matrix->end();
    }
  }

  void read_many(const Item& item, Scratch& scratch) {
    const int64_t rows = rounded_up(keys_ + 1, 32), depth = rows / per_word_;
    uint32_t* k = scratch.take<uint32_t>(rows * words_);
    uint32_t* v = scratch.take<uint32_t>(columns_ * depth);
    uint32_t* q = scratch.take<uint32_t>(kLanes * words_);
    float* score = scratch.take<float>(rows * kLanes);
    const Panel panel{scratch.take<uint32_t>(depth * kLanes), depth};
    float* mean = scratch.take<float>(columns_ * kLanes);
    std::vector<const void*> from(static_cast<size_t>(rows), nullptr);
    page_rows(page(item).k, item.g, from.data());
    kernels_.matrix->pack_rows(k, words_, from.data(), rows, shape_.K, half_);
    page_rows(page(item).v, item.g, from.data());
    from[keys_] = nullptr;  // the landmark's value is nobody's
    kernels_.lane->turn_rows(v, depth, from.data(), rows, shape_.K, half_);
    float one[kLanes];
    std::fill(one, one + kLanes, 1.0F);
    // Places after the tokens weigh nothing; spread() leaves them alone.
    std::memset(panel.data, 0, static_cast<size_t>(depth * kLanes) * 4);
    for (size_t first = item.begin; first < item.end; first += kLanes) {
      const size_t count = std::min<size_t>(kLanes, item.end - first);
      const void* queries[kLanes] = {};
      void* to[kLanes] = {};
      for (size_t l = 0; l < count; ++l) {
        queries[l] = query(triples_[first + l]);
        to[l] = value(triples_[first + l]);
      }
      kernels_.matrix->pack_across(q, words_, queries, kLanes, shape_.K, half_);
      kernels_.matrix->multiply(score, kLanes, k, words_, q, words_, rows, kLanes, words_);
      for (size_t l = 0; l < count; ++l) {
        gate_[static_cast<size_t>(triples_[first + l].at)] =
            score[keys_ * kLanes + static_cast<int64_t>(l)] * scale_log2_;
      }
      kernels_.lane->spread(score, 0, keys_, scale_log2_, one, nullptr, panel);
      kernels_.matrix->multiply(mean, kLanes, v, depth, panel.data, depth, columns_, kLanes, depth);
      kernels_.lane->store(mean, shape_.K, one, to, false);
    }
  }

  void read_few(const Item& item, Scratch& scratch) {
    const auto count = static_cast<int64_t>(item.end - item.begin);
    FewReader reader(kernels_, shape_.K, scale_log2_, half_, scratch);
    std::vector<const void*> k(static_cast<size_t>(keys_) + 1), v(k.size());
    page_rows(page(item).k, item.g, k.data());
    page_rows(page(item).v, item.g, v.data());
    const void* queries[kFewLanes];
    for (int64_t l = 0; l < count; ++l) queries[l] = query(triples_[item.begin + static_cast<size_t>(l)]);
    reader.queries(queries, count);
    reader.start();
    reader.read(k.data(), v.data(), keys_);
    for (int64_t l = 0; l < count; ++l) {
      const Triple& triple = triples_[item.begin + static_cast<size_t>(l)];
      gate_[static_cast<size_t>(triple.at)] =
          kernels_.matrix->dot(queries[l], k.back(), shape_.K, half_) * scale_log2_;
      reader.mean(l, value(triple));
    }
  }

  // The local result and the blocks of one query and head; returns the natural logarithm of the sum.
  float merge_one(int64_t i, const char* near, float lse, float* sum) const {
    const int64_t K = shape_.K;
    std::fill(sum, sum + K, 0.0F);
    Merge merge;
    if (!std::isinf(lse)) {
      std::vector<float> local(static_cast<size_t>(K));
      for (int64_t d = 0; d < K; ++d) local[static_cast<size_t>(d)] = number(near, d);
      merge.add(lse * kLog2E, local.data(), K, sum);
    }
    for (int64_t n = 0; n < shape_.read; ++n) {
      const int64_t at = i * shape_.read + n;
      merge.add(gate_[static_cast<size_t>(at)], value_.data_ptr<float>() + at * K, K, sum);
    }
    for (int64_t d = 0; d < K; ++d) sum[d] /= merge.sum;
    return (merge.top + std::log2(merge.sum)) / kLog2E;
  }
  float number(const char* row, int64_t d) const {
    if (!half_) return reinterpret_cast<const float*>(row)[d];
    return static_cast<float>(reinterpret_cast<const at::BFloat16*>(row)[d]);
  }

  const SearchShape& shape_;
  const LandmarkSearch& options_;
  const LandmarkPages& pages_;
  const KernelChoice kernels_;
  Tensor queries_;
  bool half_ = false;
  int64_t per_word_ = 1, words_ = 0, columns_ = 0, keys_ = 0;
  float scale_log2_ = 0;
  std::vector<Triple> triples_;  // by key head and block, otherwise in order
  std::vector<Item> items_;
  std::vector<float> gate_;  // base 2, as `selected` lies
  Tensor value_;             // [as selected, K]
};

}  // namespace

Tensor recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected, const Tensor& local,
              const Tensor& lse, const LandmarkSearch& options, const SearchShape& shape, Tensor* merged) {
  if (shape.read == 0 || shape.T == 0) {
    if (merged) *merged = lse.to(at::kFloat).contiguous();
    return local.contiguous();
  }
  Recall run(queries, pages, options, shape);
  run.group(selected);
  run.read_all();
  return run.merge(local, lse, merged);
}

}  // namespace mneme::landmark
