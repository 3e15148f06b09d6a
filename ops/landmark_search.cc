// Selection of blocks: scores of all landmarks for a tile of 32 queries of one key head at a time, then the
// best of each. What the picks that take a maximum need is gathered in an order that the shape alone decides.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/landmark_fused.h"
#include "ops/landmark_retrieval_impl.h"

namespace mneme::landmark {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

constexpr int64_t kFewQueries = 4;  // of a key head; more are worth packing the landmarks
constexpr int64_t kFewKeys = 64;

// Some tokens in some heads of one key head, at most 32 together.
struct Lanes {
  int64_t g = 0, t = 0, tokens = 0, head = 0, heads = 0;  // head: within the group
  int64_t count() const { return tokens * heads; }
};

class Search {
 public:
  Search(const Tensor& queries, const std::vector<Tensor>& landmarks, const LandmarkSearch& options,
         const SearchShape& shape)
      : shape_(shape), options_(options), kernels_(choose_kernels(queries.scalar_type() == at::kBFloat16)) {
    half_ = queries.scalar_type() == at::kBFloat16;
    queries_ = queries.stride(3) == 1 ? queries : queries.contiguous();
    for (const Tensor& part : landmarks) {
      landmarks_.push_back(part.stride(2) == 1 ? part : part.contiguous());
      const Tensor& held = landmarks_.back();
      const auto size = static_cast<int64_t>(held.element_size());
      for (int64_t n = 0; n < held.size(1); ++n) {
        rows_of_.push_back(
            {static_cast<const char*>(held.data_ptr()) + n * held.stride(1) * size, held.stride(0) * size});
      }
    }
    const int64_t per_word = kernels_.matrix->pairs ? 2 : 1;
    words_ = rounded_up(rounded_up(shape.K, per_word) / per_word, 16);
    rows_ = rounded_up(shape.N, 32);
    heads_together_ = std::min(shape.share(), kLanes);
    tokens_together_ = kLanes / heads_together_;
  }

  size_t packed_bytes() const { return scratch_bytes<uint32_t>(rows_ * words_) * shape_.G; }
  void pack(Scratch& scratch) {
    for (int64_t g = 0; g < shape_.G; ++g) packed_.push_back(scratch.take<uint32_t>(rows_ * words_));
    at::parallel_for(0, shape_.G * rows_ / 32, 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t g = i / (rows_ / 32), first = i % (rows_ / 32) * 32;
        const void* rows[32];
        for (int64_t r = 0; r < 32; ++r) rows[r] = first + r < shape_.N ? landmark(g, first + r) : nullptr;
        kernels_.matrix->pack_rows(packed_[g] + first * words_, words_, rows, 32, shape_.K, half_);
      }
    });
  }

  // Of one thread.
  size_t lane_bytes() const {
    return scratch_bytes<uint32_t>(words_ * kLanes) + 2 * scratch_bytes<float>(rows_ * kLanes);
  }

  // Groups of heads of a key head.
  int64_t head_steps() const { return (shape_.share() + heads_together_ - 1) / heads_together_; }
  int64_t token_steps() const { return (shape_.T + tokens_together_ - 1) / tokens_together_; }
  Lanes lanes(int64_t g, int64_t head_step, int64_t token_step) const {
    Lanes out;
    out.g = g;
    out.t = token_step * tokens_together_;
    out.tokens = std::min(tokens_together_, shape_.T - out.t);
    out.head = head_step * heads_together_;
    out.heads = std::min(heads_together_, shape_.share() - out.head);
    return out;
  }
  int64_t head_of(const Lanes& lanes, int64_t lane) const {
    return lanes.g * shape_.share() + lanes.head + lane % lanes.heads;
  }
  static int64_t token_of(const Lanes& lanes, int64_t lane) { return lanes.t + lane / lanes.heads; }

  // Scores times scale [32, rows]; with `logs`, the logarithm of their softmax.
  float* scores(const Lanes& lanes, bool logs, Scratch& scratch) const {
    scratch.reset();
    uint32_t* panel = scratch.take<uint32_t>(words_ * kLanes);
    float *down = scratch.take<float>(rows_ * kLanes), *across = scratch.take<float>(rows_ * kLanes);
    const void* rows[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) {
      rows[l] = l < lanes.count() ? query(token_of(lanes, l), head_of(lanes, l), 0) : nullptr;
    }
    kernels_.matrix->pack_across(panel, words_, rows, kLanes, shape_.K, half_);
    kernels_.matrix->multiply(down, kLanes, packed_[lanes.g], words_, panel, words_, rows_, kLanes, words_);
    kernels_.matrix->turn(across, down, rows_, kLanes);
    for (int64_t l = 0; l < lanes.count(); ++l) finish(lanes, l, logs, across + l * rows_);
    return across;
  }
  int64_t stride() const { return rows_; }

  // Whether the queries are so few that the landmarks are read where they lie.
  bool few() const { return shape_.T * shape_.share() <= kFewQueries; }
  // The same for one query in one head, [N].
  float* scores_in_place(int64_t t, int64_t h, Scratch& scratch) const {
    scratch.reset();
    float* x = scratch.take<float>(rows_);
    Lanes one;
    one.g = h / shape_.share(), one.head = h % shape_.share(), one.heads = 1;
    one.t = t, one.tokens = 1;
    const void* keys[kFewKeys];
    for (int64_t n = 0; n < shape_.N; n += kFewKeys) {
      const int64_t count = std::min(kFewKeys, shape_.N - n);
      for (int64_t i = 0; i < count; ++i) keys[i] = landmark(one.g, n + i);
      kernels_.lane->line(query(t, h, 0), keys, count, shape_.K, half_, x + n);
    }
    finish(one, 0, false, x);
    return x;
  }

 private:
  const void* landmark(int64_t g, int64_t n) const {
    const Line& line = rows_of_[static_cast<size_t>(n)];
    return line.first + g * line.group;
  }
  const void* query(int64_t t, int64_t h, int64_t slot) const {
    return static_cast<const char*>(queries_.data_ptr()) +
           (t * queries_.stride(0) + h * queries_.stride(1) + slot * queries_.stride(2)) *
               queries_.element_size();
  }

  void finish(const Lanes& lanes, int64_t lane, bool logs, float* x) const {
    const int64_t N = shape_.N, t = token_of(lanes, lane), h = head_of(lanes, lane);
    for (int64_t n = N - shape_.read; n < N; ++n) {
      const int64_t slot = landmark_search_slot(n, N, shape_.read, options_.latest_shifted);
      if (slot > 0) x[n] = kernels_.matrix->dot(query(t, h, slot), landmark(lanes.g, n), shape_.K, half_);
    }
    const auto scale = static_cast<float>(shape_.scale);
    for (int64_t n = 0; n < N; ++n) x[n] *= scale;
    if (!logs) return;
    const float top = *std::max_element(x, x + N);
    double sum = 0;
    for (int64_t n = 0; n < N; ++n) sum += std::exp(static_cast<double>(x[n]) - top);
    const double lse = top + std::log(sum);
    for (int64_t n = 0; n < N; ++n) x[n] = static_cast<float>(x[n] - lse);
  }

  const SearchShape& shape_;
  const LandmarkSearch& options_;
  const KernelChoice kernels_;
  struct Line {
    const char* first;  // of key head 0
    int64_t group;      // bytes to the next key head
  };
  Tensor queries_;
  std::vector<Tensor> landmarks_;
  std::vector<Line> rows_of_;  // by rank
  bool half_ = false;
  int64_t words_ = 0, rows_ = 0, heads_together_ = 1, tokens_together_ = 1;
  std::vector<uint32_t*> packed_;
};

void raise(float* to, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = std::max(to[i], from[i]);
}

// Runs body(item, scratch, picker) for all items on all threads.
template <class Body>
void for_all(const Search& search, const KernelChoice& kernels, int64_t items, Body body) {
  const int threads = at::get_num_threads();
  std::vector<Scratch>& scratch = thread_scratch(threads, search.lane_bytes());
#pragma omp parallel num_threads(threads)
  {
    kernels.matrix->begin();
    Picker<float> picker;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < items; ++i) body(i, scratch[static_cast<size_t>(omp_get_thread_num())], picker);
    kernels.matrix->end();
  }
}

}  // namespace

bool kernels_take(const Tensor& queries) {
  const bool number = queries.scalar_type() == at::kFloat || queries.scalar_type() == at::kBFloat16;
  return number && queries.device().is_cpu();
}

Tensor search(const Tensor& queries, const std::vector<Tensor>& landmarks, const LandmarkSearch& options,
              const SearchShape& shape, Tensor* log_weights) {
  const int64_t T = shape.T, H = shape.H, G = shape.G, N = shape.N, read = shape.read;
  const Tensor out = at::empty({T, H, read}, at::kInt);
  if (log_weights) *log_weights = at::empty({T, H, N}, at::kFloat);
  if (T == 0 || N == 0) return out;
  auto* ranks = out.data_ptr<int32_t>();
  float* logs = log_weights ? log_weights->data_ptr<float>() : nullptr;
  const KernelChoice kernels = choose_kernels(queries.scalar_type() == at::kBFloat16);
  Search search(queries, landmarks, options, shape);
  if (options.pick == LandmarkPick::per_token_and_head && !logs && search.few()) {
    for_all(search, kernels, T * H, [&](int64_t i, Scratch& scratch, Picker<float>& picker) {
      picker.pick(search.scores_in_place(i / H, i % H, scratch), N, read, options.tie_eps, ranks + i * read);
    });
    return out;
  }
  static thread_local Scratch packed;
  packed.reserve(search.packed_bytes());
  search.pack(packed);
  const int64_t head_steps = search.head_steps(), token_steps = search.token_steps();
  auto keep = [&](int64_t t, int64_t h, const float* x) {
    if (logs) std::memcpy(logs + (t * H + h) * N, x, static_cast<size_t>(N) * sizeof(float));
  };

  if (options.pick == LandmarkPick::per_token_and_head) {
    for_all(search, kernels, G * head_steps * token_steps,
            [&](int64_t i, Scratch& scratch, Picker<float>& picker) {
              const Lanes lanes =
                  search.lanes(i / (head_steps * token_steps), i / token_steps % head_steps, i % token_steps);
              const float* x = search.scores(lanes, logs != nullptr, scratch);
              for (int64_t l = 0; l < lanes.count(); ++l, x += search.stride()) {
                const int64_t t = Search::token_of(lanes, l), h = search.head_of(lanes, l);
                picker.pick(x, N, read, options.tie_eps, ranks + (t * H + h) * read);
                keep(t, h, x);
              }
            });
  } else if (options.pick == LandmarkPick::max_over_heads) {
    for_all(search, kernels, token_steps, [&](int64_t step, Scratch& scratch, Picker<float>& picker) {
      std::vector<float> best(static_cast<size_t>(kLanes * N), kLowest);
      Lanes lanes;
      for (int64_t i = 0; i < G * head_steps; ++i) {
        lanes = search.lanes(i / head_steps, i % head_steps, step);
        const float* x = search.scores(lanes, true, scratch);
        for (int64_t l = 0; l < lanes.count(); ++l)
          raise(best.data() + l / lanes.heads * N, x + l * search.stride(), N);
      }
      for (int64_t i = 0; i < lanes.tokens; ++i) {
        int32_t* to = ranks + (lanes.t + i) * H * read;
        picker.pick(best.data() + i * N, N, read, options.tie_eps, to);
        for (int64_t h = 0; h < H; ++h) {
          std::copy(to, to + read, to + h * read);
          keep(lanes.t + i, h, best.data() + i * N);
        }
      }
    });
  } else {
    for_all(search, kernels, G * head_steps, [&](int64_t i, Scratch& scratch, Picker<float>& picker) {
      std::vector<float> best(static_cast<size_t>(kLanes * N), kLowest);
      Lanes lanes;
      for (int64_t step = 0; step < token_steps; ++step) {
        lanes = search.lanes(i / head_steps, i % head_steps, step);
        const float* x = search.scores(lanes, true, scratch);
        for (int64_t l = 0; l < lanes.count(); ++l)
          raise(best.data() + l % lanes.heads * N, x + l * search.stride(), N);
      }
      for (int64_t head = 0; head < lanes.heads; ++head) {
        const int64_t h = search.head_of(lanes, head);
        std::vector<int32_t> one(static_cast<size_t>(read));
        picker.pick(best.data() + head * N, N, read, options.tie_eps, one.data());
        for (int64_t t = 0; t < T; ++t) {
          std::copy(one.begin(), one.end(), ranks + (t * H + h) * read);
          keep(t, h, best.data() + head * N);
        }
      }
    });
  }
  return out;
}

}  // namespace mneme::landmark
