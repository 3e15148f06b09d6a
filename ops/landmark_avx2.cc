#define MNEME_VECTOR_BYTES 32
#include "ops/landmark_body.h"

namespace mneme::landmark {

const Kernels kAvx2 = table<false>();

}  // namespace mneme::landmark
