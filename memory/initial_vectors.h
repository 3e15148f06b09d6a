// First values of learned memory vectors, as RMT and HMT draw them: normal, with the deviation of all entries
// of the model's embedding.
#pragma once

#include "model/decoder.h"

namespace mneme {

Tensor initial_vectors(const Decoder& decoder, int64_t count, uint64_t seed,
                       uint32_t index);  // [count, E] fp32

}  // namespace mneme
