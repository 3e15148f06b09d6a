// What the parts of landmark retrieval share. Internal to ops/landmark_*.cc.
#pragma once

#include <vector>

#include "ops/landmark_retrieval.h"

namespace mneme::landmark {

struct SearchShape {
  int64_t T = 0, H = 0, G = 0, K = 0, N = 0;
  int64_t read = 0;  // blocks a query reads
  double scale = 0;
  int64_t share() const { return H / G; }
};
// Throw Error{input} unless everything fits together.
SearchShape check_search(const Tensor& queries, const std::vector<Tensor>& landmarks,
                         const LandmarkSearch& search);
SearchShape check_recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                         const Tensor& local, const Tensor& lse, const LandmarkSearch& search);

// Where among the pages each selected block stands. Throws Error{input} where one is missing.
std::vector<int32_t> places_of(const LandmarkPages& pages, const Tensor& selected);

// The ranks of the `read` best of n scores under the tie rule, ascending. NaN counts as the lowest.
template <class T>
class Picker {
 public:
  void pick(const T* score, int64_t n, int64_t read, double tie_eps, int32_t* ranks);

 private:
  void find_best(int64_t n, int64_t count);
  T chain_end(int64_t n, T low, T eps);

  std::vector<T> copy_, best_;
};

bool kernels_take(const Tensor& queries);
Tensor search(const Tensor& queries, const std::vector<Tensor>& landmarks, const LandmarkSearch& options,
              const SearchShape& shape, Tensor* log_weights);
Tensor recall(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected, const Tensor& local,
              const Tensor& lse, const LandmarkSearch& options, const SearchShape& shape, Tensor* merged);

}  // namespace mneme::landmark
