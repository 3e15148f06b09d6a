#include "io/lazy_tensor.h"

#include "base/error.h"

namespace mneme {

Tensor load_as_promised(const LazyTensor& t) {
  Tensor value = t.load();
  MNEME_CHECK(value.scalar_type() == t.dtype && value.sizes() == at::IntArrayRef(t.shape),
              t.name + " is " + describe(value));
  return value;
}

}  // namespace mneme
