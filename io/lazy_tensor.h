// A tensor that is made when its turn comes: how writers get a model without holding it whole, and how
// converters change names, types and layouts on the way.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

struct LazyTensor {
  std::string name;
  at::ScalarType dtype;  // dtype and shape that load() will give
  std::vector<int64_t> shape;
  std::function<Tensor()> load;
};

// load(), checked against the promise.
Tensor load_as_promised(const LazyTensor& t);

}  // namespace mneme
