#define MNEME_VECTOR_BYTES 32
#include "ops/sgemm_body.h"

namespace mneme::sgemm {

const Kernels kAvx2 = table();

}  // namespace mneme::sgemm
