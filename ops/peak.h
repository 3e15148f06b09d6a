// The ceilings of this machine: what its arithmetic units do with operands in registers, and how fast its
// memory is read. `mneme doctor` prints them, and benchmarks state their share of them. Not a benchmark of
// our kernels.
#pragma once

#include <cstdint>
#include <string>

namespace mneme {

struct Peak {
  std::string unit;         // "AMX bf16", "AVX-512 fp32", ...; empty when there is no such unit
  double flops_per_second;  // all threads of the pool together, the best of several short runs
};

Peak peak_bf16();  // the fastest bf16 unit of the level in force (ops/cpu.h); none: an empty unit
Peak peak_fp32();

// Bytes per second with which all threads together read a buffer of this size, the best of several runs.
double read_bandwidth(int64_t bytes);

}  // namespace mneme
