#define MNEME_VECTOR_BYTES 64
#include "ops/elementwise_table.h"

namespace mneme {

const ElementwiseKernels kElementwiseAvx512 = kTable;

}  // namespace mneme
