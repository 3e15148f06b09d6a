// Packing and storing with AVX-512, shared by the avx512 and amx levels (ops/gemm_avx512.cc).
#pragma once

#include "ops/gemm_kernels.h"

namespace mneme::gemm {

// Fills the packing and storing routines of a table, whose `a_words` is set. `bf16`: vcvtneps2bf16 may be
// used.
void use_avx512_packing(Kernels& table, bool bf16);

}  // namespace mneme::gemm
