#define MNEME_VECTOR_BYTES 64
#include "ops/attention_table.h"

namespace mneme {

const AttentionKernels kAttentionAvx512 = attention_table<VectorUnit<false>>();
const AttentionKernels kAttentionAvx512Bf16 = attention_table<VectorUnit<true>>();

}  // namespace mneme
