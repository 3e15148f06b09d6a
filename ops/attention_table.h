// All attention kernels of one matrix unit. See attention_vector.h for who includes this.
#pragma once

#include "ops/attention_backward_body.h"
#include "ops/attention_direct_body.h"
#include "ops/attention_forward_body.h"

namespace mneme {
namespace {

template <class Unit>
constexpr AttentionKernels attention_table() {
  return {Unit::kPairs,
          Unit::begin,
          Unit::end,
          pack_rows<Unit::kPairs>,
          pack_across<Unit::kPairs>,
          pack_down<Unit::kPairs>,
          forward_tile<Unit>,
          direct_tile<Unit::kPairs>,
          backward_tile<Unit>,
          pack_turned<Unit::kPairs>,
          write_row<Unit::kPairs>,
          dot,
          turn,
          Unit::template product<true>,
          Unit::template product<false>};
}

}  // namespace
}  // namespace mneme
