#define MNEME_VECTOR_BYTES 64
#include "ops/sgemm_body.h"

namespace mneme::sgemm {

const Kernels kAvx512 = table();

}  // namespace mneme::sgemm
