#define MNEME_VECTOR_BYTES 64
#include "ops/cross_entropy_body.h"

namespace mneme {

const CrossEntropyKernels kCrossEntropyAvx512 = kTable;

}  // namespace mneme
