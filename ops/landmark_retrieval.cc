#include "ops/landmark_retrieval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

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

SearchShape check_search(const Tensor& queries, const Tensor& landmarks, const LandmarkSearch& search) {
  expect(landmarks.defined() && landmarks.dim() == 3, "landmarks [G, N, K]", landmarks);
  const SearchShape shape = check_queries(queries, landmarks.size(0), landmarks.size(1), search);
  expect(landmarks.size(2) == shape.K && landmarks.scalar_type() == queries.scalar_type(),
         "landmarks of the queries' width and type", landmarks);
  return shape;
}

SearchShape check_recall(const Tensor& queries, const std::vector<LandmarkPage>& pages,
                         const Tensor& selected, const Tensor& local, const Tensor& lse,
                         const LandmarkSearch& search) {
  const auto N = static_cast<int64_t>(pages.size());
  int64_t G = 1;
  const LandmarkPage* any = nullptr;
  for (const LandmarkPage& page : pages) {
    if (!page.k.defined() && !page.v.defined()) continue;
    if (!any) any = &page;
    const Tensor& first = any->k;
    expect(first.defined() && first.dim() == 3 && first.size(1) >= 2, "pages [G, f + 1, K]", first);
    G = first.size(0);
    for (const Tensor* t : {&page.k, &page.v}) {
      expect(t->defined() && t->sizes() == first.sizes() && t->is_contiguous() &&
                 t->scalar_type() == queries.scalar_type() && t->size(2) == queries.size(-1),
             "contiguous pages of one shape and of the queries' type and width", *t);
    }
  }
  if (!any) G = queries.dim() == 4 ? queries.size(1) : 1;
  const SearchShape shape = check_queries(queries, G, N, search);
  expect(selected.defined() && selected.scalar_type() == at::kInt &&
             selected.sizes() == at::IntArrayRef({shape.T, shape.H, shape.read}),
         "selected int32 [T, H, blocks read]", selected);
  if (selected.numel() > 0) {
    expect(selected.min().item<int>() >= 0 && selected.max().item<int>() < N, "ranks of stored blocks",
           selected);
    const Tensor ranks = selected.to(at::kCPU).contiguous();
    for (int64_t i = 0; i < ranks.numel(); ++i) {
      const auto rank = static_cast<size_t>(ranks.data_ptr<int>()[i]);
      expect(pages[rank].k.defined() && pages[rank].v.defined(), "the pages of all selected blocks",
             selected);
    }
  }
  expect(local.defined() && local.scalar_type() == queries.scalar_type() &&
             local.sizes() == at::IntArrayRef({shape.T, shape.H, shape.K}),
         "local [T, H, K]", local);
  expect(lse.defined() && lse.sizes() == at::IntArrayRef({shape.H, shape.T}), "lse [H, T]", lse);
  return shape;
}

template <class T>
void Picker<T>::pick(const T* score, int64_t n, int64_t read, double tie_eps, int32_t* ranks) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  const auto eps = static_cast<T>(tie_eps);
  copy_.assign(score, score + n);
  for (T& x : copy_) x = x != x ? kLowest : x;
  order_.assign(copy_.size(), 0);
  std::iota(order_.begin(), order_.end(), 0);
  // The usual case: nothing below the last one taken comes near it, so that ties do not matter.
  auto higher = [&](int32_t a, int32_t b) { return copy_[a] > copy_[b] || (copy_[a] == copy_[b] && a > b); };
  if (read == 0) return;
  std::nth_element(order_.begin(), order_.begin() + (read - 1), order_.end(), higher);
  const T last = copy_[order_[read - 1]];
  const bool tied = std::any_of(order_.begin() + read, order_.end(),
                                [&](int32_t i) { return copy_[i] == last || last - copy_[i] < eps; });
  if (tied) {
    std::sort(order_.begin(), order_.end(), higher);
    int64_t taken = 0;
    for (int64_t begin = 0; taken < read;) {
      int64_t end = begin + 1;
      while (end < n && (copy_[order_[end - 1]] == copy_[order_[end]] ||
                         copy_[order_[end - 1]] - copy_[order_[end]] < eps)) {
        ++end;
      }
      std::sort(order_.begin() + begin, order_.begin() + end, std::greater<>());
      taken += end - begin;
      begin = end;
    }
  }
  std::copy(order_.begin(), order_.begin() + read, ranks);
  std::sort(ranks, ranks + read);
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

Tensor landmark_search(const Tensor& queries, const Tensor& landmarks, const LandmarkSearch& search,
                       Tensor* log_weights) {
  const landmark::SearchShape shape = landmark::check_search(queries, landmarks, search);
  if (!landmark::kernels_take(queries))
    return landmark_search_reference(queries, landmarks, search, log_weights);
  return landmark::search(queries, landmarks, search, shape, log_weights);
}

Tensor landmark_recall(const Tensor& queries, const std::vector<LandmarkPage>& pages, const Tensor& selected,
                       const Tensor& local, const Tensor& lse, const LandmarkSearch& search, Tensor* merged) {
  const landmark::SearchShape shape = landmark::check_recall(queries, pages, selected, local, lse, search);
  if (!landmark::kernels_take(queries)) {
    return landmark_recall_reference(queries, pages, selected, local, lse, search, merged);
  }
  return landmark::recall(queries, pages, selected, local, lse, search, shape, merged);
}

}  // namespace mneme
