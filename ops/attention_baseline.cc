#define MNEME_VECTOR_BYTES 16
#include "ops/attention_table.h"

namespace mneme {

const AttentionKernels kAttentionBaseline = attention_table<VectorUnit<false>>();

}  // namespace mneme
