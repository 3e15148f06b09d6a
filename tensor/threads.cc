#include "tensor/threads.h"

#include "base/log.h"
#include "base/threads.h"
#include "tensor/tensor.h"

namespace mneme {

int set_threads(int64_t wanted) {
  const int threads = set_base_threads(wanted);
  at::set_num_threads(threads);
  const std::string kernels = blas_kernels();
  log_info("threads", "{} of {} cores, BLAS: {}{}", threads, available_cores(), loaded_blas(),
           kernels.empty() ? "" : " with kernels for " + kernels);
  if (loaded_blas() == "reference BLAS") {
    log_warning("threads", "the reference BLAS is about twenty times slower: install libopenblas0-openmp");
  }
  return threads;
}

}  // namespace mneme
