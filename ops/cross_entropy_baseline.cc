#define MNEME_VECTOR_BYTES 16
#include "ops/cross_entropy_body.h"

namespace mneme {

const CrossEntropyKernels kCrossEntropyBaseline = kTable;

}  // namespace mneme
