// How many threads compute. One OpenMP pool serves our kernels, libtorch and BLAS; this sets its size.
// libtorch needs its own word too: tensor/threads.h calls this and then libtorch, and is what commands use.
#pragma once

#include <cstdint>
#include <string>

namespace mneme {

// Cores that this process may use: its affinity mask, and the CPU quota of its control group if there is one.
int available_cores();

// Sets OpenMP's and BLAS's thread count: `wanted`, or all available cores for 0. Returns the number. Throws
// Error{usage} when it is negative or absurd. Also has an OpenBLAS that does not know the processor use the
// kernels that fit it; nothing may be computing meanwhile.
int set_base_threads(int64_t wanted);

// The BLAS that is loaded in this process, by the file that offers sgemm_: "openblas (openmp)", "openblas
// (pthreads)", "mkl", "blis", "reference BLAS", or "none".
std::string loaded_blas();
// The processor that its kernels are for, as OpenBLAS names it ("SkylakeX"); empty for others.
std::string blas_kernels();

}  // namespace mneme
