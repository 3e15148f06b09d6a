#define MNEME_RANDOM_KERNELS
#include "base/random_kernels.h"

namespace mneme::random_internal {
const Kernels kBaseKernels = {bits, uniform, normal, keep};
}  // namespace mneme::random_internal
