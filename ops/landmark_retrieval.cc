#include "ops/landmark_retrieval.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "ops/landmark_retrieval_impl.h"

namespace mneme {
namespace landmark {
namespace {

void expect(bool holds, const char* what, const Tensor& found) {
  if (!holds) {
    throw Error(Kind::input,
                std::string("landmark retrieval: expected ") + what + ", found " + describe(found));
  }
}

SearchShape check_queries(const Tensor& queries, int64_t G, int64_t N, const LandmarkSearch& search) {
  expect(queries.defined() && queries.dim() == 4 && at::isFloatingType(queries.scalar_type()),
         "queries [T, H, slots, K]", queries);
  if (search.k < 0) throw Error(Kind::usage, "landmark retrieval: the number of blocks must not be negative");
  if (search.scale < 0 || !(search.tie_eps >= 0)) {
    throw Error(Kind::usage, "landmark retrieval: scale and tie_eps must not be negative");
  }
  SearchShape shape;
  shape.T = queries.size(0), shape.H = queries.size(1), shape.K = queries.size(3);
  shape.G = G, shape.N = N;
  shape.read = std::min(search.k, N);
  shape.scale = search.scale > 0 ? search.scale : 1 / std::sqrt(static_cast<double>(shape.K));
  expect(shape.K > 0 && G > 0 && shape.H % G == 0, "a number of heads that the key heads divide", queries);
  expect(queries.size(2) == shape.read + 1, "queries for one slot more than the blocks read", queries);
  return shape;
}

}  // namespace

SearchShape check_search(const Tensor& queries, const std::vector<Tensor>& landmarks,
                         const LandmarkSearch& search) {
  int64_t N = 0;
  for (const Tensor& part : landmarks) {
    expect(part.defined() && part.dim() == 3 && part.size(0) == landmarks[0].size(0), "landmarks [G, N, K]",
           part);
    N += part.size(1);
  }
  const int64_t G = landmarks.empty() ? (queries.dim() == 4 ? queries.size(1) : 1) : landmarks[0].size(0);
  const SearchShape shape = check_queries(queries, G, N, search);
  for (const Tensor& part : landmarks) {
    expect(part.size(2) == shape.K && part.scalar_type() == queries.scalar_type(),
           "landmarks of the queries' width and type", part);
  }
  return shape;
}

SearchShape check_recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                         const Tensor& local, const Tensor& lse, const LandmarkSearch& search) {
  int64_t G = queries.dim() == 4 ? queries.size(1) : 1;
  for (const LandmarkPage& page : pages.page) {
    const Tensor& first = pages.page[0].k;
    expect(first.defined() && first.dim() == 3 && first.size(1) >= 2, "pages [G, f + 1, K]", first);
    G = first.size(0);
    for (const Tensor* t : {&page.k, &page.v}) {
      expect(t->defined() && t->sizes() == first.sizes() && t->is_contiguous() &&
                 t->scalar_type() == queries.scalar_type() && t->size(2) == queries.size(-1),
             "contiguous pages of one shape and of the queries' type and width", *t);
    }
  }
  const SearchShape shape = check_queries(queries, G, pages.blocks, search);
  expect(selected.defined() && selected.scalar_type() == at::kInt &&
             selected.sizes() == at::IntArrayRef({shape.T, shape.H, shape.read}),
         "selected int32 [T, H, blocks read]", selected);
  expect(local.defined() && local.scalar_type() == queries.scalar_type() &&
             local.sizes() == at::IntArrayRef({shape.T, shape.H, shape.K}),
         "local [T, H, K]", local);
  expect(lse.defined() && lse.sizes() == at::IntArrayRef({shape.H, shape.T}), "lse [H, T]", lse);
  return shape;
}

std::vector<int32_t> places_of(const LandmarkPages& pages, const Tensor& selected) {
  const Tensor ranks = selected.to(at::kCPU).contiguous();
  std::vector<int32_t> out(static_cast<size_t>(ranks.numel()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t rank = ranks.data_ptr<int32_t>()[i];
    const auto found = std::lower_bound(pages.rank.begin(), pages.rank.end(), rank);
    expect(found != pages.rank.end() && *found == rank, "the pages of all selected blocks", selected);
    out[i] = static_cast<int32_t>(found - pages.rank.begin());
  }
  return out;
}

// Numbers are gone through in runs that vectorise: first whether any of a run matters, seldom which.
namespace {

constexpr int64_t kRun = 64;

template <class T, class Test>
bool any_of_run(const T* x, int64_t n, Test test) {
  int any = 0;
  for (int64_t i = 0; i < n; ++i) any |= test(x[i]);
  return any != 0;
}

}  // namespace

// The best scores, one more than are read, in descending order.
template <class T>
void Picker<T>::find_best(int64_t n, int64_t count) {
  best_.assign(static_cast<size_t>(count), -std::numeric_limits<T>::infinity());
  T& least = best_.back();
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t size = std::min(kRun, n - begin);
    const T* x = copy_.data() + begin;
    if (!any_of_run(x, size, [limit = least](T v) { return static_cast<int>(v > limit); })) continue;
    for (int64_t i = 0; i < size; ++i) {
      if (!(x[i] > least)) continue;
      size_t at = best_.size() - 1;
      for (; at > 0 && best_[at - 1] < x[i]; --at) best_[at] = best_[at - 1];
      best_[at] = x[i];
    }
  }
}

// The lowest score of the chain that `low` belongs to.
template <class T>
T Picker<T>::chain_end(int64_t n, T low, T eps) {
  constexpr int kPasses = 8;  // enough but for chains of many small steps
  for (int pass = 0; pass < kPasses; ++pass) {
    const T before = low;
    for (int64_t begin = 0; begin < n; begin += kRun) {
      const int64_t size = std::min(kRun, n - begin);
      const T* x = copy_.data() + begin;
      const auto next = [eps](T from, T v) {
        return static_cast<int>(v < from) & static_cast<int>(from - v < eps);
      };
      if (!any_of_run(x, size, [&, from = low](T v) { return next(from, v); })) continue;
      for (int64_t i = 0; i < size; ++i) low = next(low, x[i]) ? x[i] : low;
    }
    if (low == before) return low;
  }
  std::vector<T> sorted = copy_;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (const T v : sorted) low = v < low && low - v < eps ? v : low;
  return low;
}

template <class T>
void Picker<T>::pick(const T* score, int64_t n, int64_t read, double tie_eps, int32_t* ranks) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  const auto eps = static_cast<T>(tie_eps);
  if (read == 0) return;
  copy_.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) copy_[static_cast<size_t>(i)] = score[i] != score[i] ? kLowest : score[i];
  find_best(n, std::min(read + 1, n));
  const auto tied = [eps](T high, T low) { return high == low || high - low < eps; };
  // The chain of the last one taken: what lies above it is taken, and of its members the most recent.
  const T last = best_[static_cast<size_t>(read - 1)];
  const bool goes_on = n > read && tied(last, best_.back());
  const T low = goes_on ? chain_end(n, last, eps) : last;
  int64_t first = read - 1;
  while (first > 0 && tied(best_[static_cast<size_t>(first - 1)], best_[static_cast<size_t>(first)])) --first;
  const T high = best_[static_cast<size_t>(first)];
  int64_t left = read, members = read - first;
  for (int64_t end = n; end > 0 && left > 0; end -= std::min(kRun, end)) {
    const int64_t begin = std::max<int64_t>(0, end - kRun);
    const T* x = copy_.data();
    if (!any_of_run(x + begin, end - begin, [low](T v) { return static_cast<int>(v >= low); })) continue;
    for (int64_t i = end - 1; i >= begin && left > 0; --i) {
      if (!(x[i] >= low) || (x[i] <= high && members == 0)) continue;
      members -= x[i] <= high;
      ranks[--left] = static_cast<int32_t>(i);
    }
  }
}

template class Picker<float>;
template class Picker<double>;

}  // namespace landmark

int64_t landmark_search_slot(int64_t rank, int64_t blocks, int64_t read, bool latest_shifted) {
  const int64_t latest = rank - (blocks - read);
  return latest < 0 ? 0 : latest + (latest_shifted ? 1 : 0);
}

int64_t landmark_read_slot(int64_t n, int64_t rank, int64_t blocks, int64_t read, bool latest_shifted) {
  return n + (latest_shifted && rank >= blocks - read ? 1 : 0);
}

LandmarkPages::LandmarkPages(const std::vector<LandmarkPage>& all)
    : blocks(static_cast<int64_t>(all.size())) {
  for (size_t n = 0; n < all.size(); ++n) add(static_cast<int32_t>(n), all[n]);
}

void LandmarkPages::add(int32_t which, LandmarkPage held) {
  rank.push_back(which);
  page.push_back(std::move(held));
}

Tensor landmark_search(const Tensor& queries, const std::vector<Tensor>& landmarks,
                       const LandmarkSearch& search, Tensor* log_weights) {
  const landmark::SearchShape shape = landmark::check_search(queries, landmarks, search);
  if (!landmark::kernels_take(queries))
    return landmark_search_reference(queries, landmarks, search, log_weights);
  return landmark::search(queries, landmarks, search, shape, log_weights);
}

Tensor landmark_recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                       const Tensor& local, const Tensor& lse, const LandmarkSearch& search, Tensor* merged) {
  const landmark::SearchShape shape = landmark::check_recall(queries, pages, selected, local, lse, search);
  if (!landmark::kernels_take(queries)) {
    return landmark_recall_reference(queries, pages, selected, local, lse, search, merged);
  }
  return landmark::recall(queries, pages, selected, local, lse, search, shape, merged);
}

}  // namespace mneme
