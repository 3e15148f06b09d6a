// The number of threads that compute: libtorch, OpenMP and BLAS at once. Debian's libtorch starts with one.
#pragma once

#include <cstdint>

namespace mneme {

// Uses `wanted` threads, all available cores for 0, and says so in the log. Returns the number.
int set_threads(int64_t wanted);

}  // namespace mneme
