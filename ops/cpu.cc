#include "ops/cpu.h"

#include <array>
#include <cstdlib>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mneme {
namespace {

struct Features {
  CpuLevel level = CpuLevel::baseline;
  bool avx512_bf16 = false;      // vcvtne2ps2bf16 and its like
  bool multiplies_bf16 = false;  // and vdpbf16ps
};

#if defined(__x86_64__)

// The kernel hands out the 8 KB of tile state per thread only to processes that ask (Linux 5.16 and later).
bool amx_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Intel's vector units take two cycles for a vdpbf16ps, in which they multiply twice as many pairs as fp32.
bool is_intel() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx &&
         d == signature_INTEL_edx;
}

Features detect() {
  Features found;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return found;
  found.level = CpuLevel::avx2;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) {
    return found;
  }
  found.level = CpuLevel::avx512;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx512_bf16 = (a >> 5) & 1;
  found.multiplies_bf16 = found.avx512_bf16 && !is_intel();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  const bool amx_bf16 = (d >> 22) & 1, amx_tile = (d >> 24) & 1;
  if (found.avx512_bf16 && amx_bf16 && amx_tile && amx_permitted()) found.level = CpuLevel::amx;
  return found;
}

#else

Features detect() { return {}; }

#endif

constexpr std::array<const char*, 4> kNames{"baseline", "avx2", "avx512", "amx"};

const Features& machine() {
  static const Features found = detect();
  return found;
}

void require(CpuLevel level) {
  if (level <= machine().level) return;
  throw Error(Kind::usage,
              "this machine has no " + cpu_level_name(level) + " (its level is " +
                  cpu_level_name(machine().level) + ")",
              "unset MNEME_CPU, or name a lower level");
}

Features from_environment() {
  Features wanted = machine();
  const char* name = std::getenv("MNEME_CPU");
  if (!name || !*name) return wanted;
  const std::string text = name;
  if (text == "avx512-nobf16" || text == "avx512-bf16") {
    require(CpuLevel::avx512);
    const bool with = text == "avx512-bf16" && wanted.avx512_bf16;
    return {CpuLevel::avx512, with, with};
  }
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (text != kNames[i]) continue;
    wanted.level = static_cast<CpuLevel>(i);
    require(wanted.level);
    return wanted;
  }
  throw Error(Kind::usage, "MNEME_CPU is '" + text + "'",
              "use one of baseline, avx2, avx512, avx512-nobf16, avx512-bf16, amx, or unset it");
}

Features& in_force() {
  static Features features = from_environment();
  return features;
}

}  // namespace

CpuLevel cpu_level() { return in_force().level; }

CpuLevel cpu_level_available() { return machine().level; }

bool cpu_rounds_to_bf16() { return in_force().avx512_bf16; }

bool cpu_multiplies_bf16() { return in_force().multiplies_bf16; }

std::string cpu_level_name(CpuLevel level) { return kNames[static_cast<size_t>(level)]; }

ForceCpuLevel::ForceCpuLevel(CpuLevel level, bool avx512_bf16)
    : level_before_(in_force().level),
      rounds_before_(in_force().avx512_bf16),
      multiplies_before_(in_force().multiplies_bf16) {
  require(level);
  const bool with = avx512_bf16 && machine().avx512_bf16;
  in_force() = {level, with, with};
}

ForceCpuLevel::~ForceCpuLevel() { in_force() = {level_before_, rounds_before_, multiplies_before_}; }

}  // namespace mneme
