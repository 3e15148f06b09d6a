#include "ops/peak.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "ops/cpu.h"
#include "ops/gemm_peak.h"

namespace mneme {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double kSeconds = 0.5;

}  // namespace

Peak peak_bf16() {
  if (cpu_level() == CpuLevel::amx) return {"AMX bf16", gemm::unit_peak(kSeconds)};
  if (cpu_level() == CpuLevel::avx512 && cpu_multiplies_bf16())
    return {"AVX-512 bf16", gemm::unit_peak(kSeconds)};
  if (cpu_level() == CpuLevel::avx512) return {"widened bf16", gemm::unit_peak(kSeconds)};
  return {"", 0};
}

Peak peak_fp32() {
  const CpuLevel level = std::min(cpu_level(), CpuLevel::avx512);
  const ForceCpuLevel without_bf16(level, false);
  const char* unit = level == CpuLevel::avx512 ? "AVX-512 fp32"
                     : level == CpuLevel::avx2 ? "AVX2 fp32"
                                               : "baseline fp32";
  return {unit, gemm::unit_peak(kSeconds)};
}

double read_bandwidth(int64_t bytes) {
  const int64_t words = bytes / 8;
  const std::unique_ptr<uint64_t[]> buffer(new uint64_t[static_cast<size_t>(words)]);
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < words; ++i) buffer[i] = static_cast<uint64_t>(i);  // pages near their readers
  double best = 0;
  uint64_t sum = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = now();
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < words; ++i) sum += buffer[i];
    best = std::max(best, static_cast<double>(words) * 8 / (now() - start));
  }
  asm volatile("" : : "r"(sum));
  return best;
}

}  // namespace mneme
