#define MNEME_VECTOR_BYTES 16
#include "ops/landmark_body.h"

namespace mneme::landmark {

const Kernels kBaseline = table<false>();

}  // namespace mneme::landmark
