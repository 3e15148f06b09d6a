// A published LoRA adapter (io/adapter.h) beside a decoder's matrices, unmerged: what --adapter means, and
// what merging is compared with. Training one's own is model/lora.h.
#pragma once

#include "io/adapter.h"
#include "model/decoder.h"

namespace mneme {

// Pairs become Linear::lora of their modules; whole tensors replace the decoder's. Throws Error{input} for a
// module that the model lacks, matrices that do not fit, and rows for new tokens (the vocabulary would grow:
// convert the model instead). Call before Decoder::pack().
void attach_adapter(Decoder& decoder, const Adapter& adapter);

}  // namespace mneme
