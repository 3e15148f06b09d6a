#define MNEME_VECTOR_BYTES 64
#include "ops/landmark_body.h"

namespace mneme::landmark {

const Kernels kAvx512 = table<false>();
const Kernels kAvx512Pairs = table<true>();

}  // namespace mneme::landmark
