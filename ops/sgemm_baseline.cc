#define MNEME_VECTOR_BYTES 16
#include "ops/sgemm_body.h"

namespace mneme::sgemm {

const Kernels kBaseline = table();

}  // namespace mneme::sgemm
