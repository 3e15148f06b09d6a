// What the processor can do, and which kernels we let it run. Kernels exist at four levels; each level
// includes the ones below. The level is what the machine and the operating system allow (AMX needs a
// permission asked of the kernel once per process), unless MNEME_CPU=baseline|avx2|avx512|amx or
// force_cpu_level lowers it.
//
// This is not about threads, caches or other devices.
#pragma once

#include <string>

namespace mneme {

enum class CpuLevel { baseline = 0, avx2 = 1, avx512 = 2, amx = 3 };

// The level in force. The first call asks for the AMX permission and reads MNEME_CPU; it throws Error{usage}
// when that names no level, or one that this machine lacks.
CpuLevel cpu_level();

// The highest level of this machine, whatever is in force.
CpuLevel cpu_level_available();

// At the avx512 level: whether the instructions of AVX512_BF16 may be used that round to bf16, and whether
// vdpbf16ps is worth it. It is not where it has half the rate of fp32's products and so saves nothing, as on
// Intel's processors; then numbers are widened. MNEME_CPU=avx512 leaves both as they are,
// MNEME_CPU=avx512-bf16 uses both, MNEME_CPU=avx512-nobf16 neither.
bool cpu_rounds_to_bf16();
bool cpu_multiplies_bf16();

std::string cpu_level_name(CpuLevel level);

// Lowers the level while it lives, with all of AVX512_BF16 or none of it: how tests run every kernel. Not for
// use while kernels run on other threads. Throws Error{usage} when the machine lacks the level.
class ForceCpuLevel {
 public:
  explicit ForceCpuLevel(CpuLevel level, bool avx512_bf16 = true);
  ~ForceCpuLevel();
  ForceCpuLevel(const ForceCpuLevel&) = delete;
  ForceCpuLevel& operator=(const ForceCpuLevel&) = delete;

 private:
  CpuLevel level_before_;
  bool rounds_before_, multiplies_before_;
};

}  // namespace mneme
