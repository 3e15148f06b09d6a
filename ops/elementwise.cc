#include "ops/cpu.h"
#include "ops/elementwise_kernels.h"

namespace mneme {

const ElementwiseKernels& elementwise_kernels() {
#if defined(__x86_64__)
  switch (cpu_level()) {
    case CpuLevel::baseline:
      return kElementwiseBaseline;
    case CpuLevel::avx2:
      return kElementwiseAvx2;
    case CpuLevel::avx512:
    case CpuLevel::amx:
      return kElementwiseAvx512;
  }
#endif
  return kElementwiseBaseline;
}

}  // namespace mneme
