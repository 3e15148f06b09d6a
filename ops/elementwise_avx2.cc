#define MNEME_VECTOR_BYTES 32
#include "ops/elementwise_table.h"

namespace mneme {

const ElementwiseKernels kElementwiseAvx2 = kTable;

}  // namespace mneme
