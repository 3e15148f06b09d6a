// What the arithmetic unit under the matrix kernels can do with its operands in registers: the limit that
// benchmarks and `mneme doctor` give shares of.
#pragma once

namespace mneme::gemm {

// Floating-point operations a second on all threads, in bf16 products where the level in force has them (amx,
// avx512 with vdpbf16ps), else in fp32. The best of several runs; takes about `seconds`.
double unit_peak(double seconds = 0.1);

}  // namespace mneme::gemm
