#define MNEME_VECTOR_BYTES 16
#include "ops/elementwise_table.h"

namespace mneme {

const ElementwiseKernels kElementwiseBaseline = kTable;

}  // namespace mneme
