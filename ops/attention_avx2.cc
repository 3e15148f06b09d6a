#define MNEME_VECTOR_BYTES 32
#include "ops/attention_table.h"

namespace mneme {

const AttentionKernels kAttentionAvx2 = attention_table<VectorUnit<false>>();

}  // namespace mneme
