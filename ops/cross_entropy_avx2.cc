#define MNEME_VECTOR_BYTES 32
#include "ops/cross_entropy_body.h"

namespace mneme {

const CrossEntropyKernels kCrossEntropyAvx2 = kTable;

}  // namespace mneme
