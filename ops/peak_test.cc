#include "ops/peak.h"

#include <gtest/gtest.h>

#include "ops/cpu.h"

namespace mneme {
namespace {

TEST(Peak, EveryUnitOfThisMachineRuns) {
  for (const CpuLevel level : {CpuLevel::baseline, CpuLevel::avx2, CpuLevel::avx512, CpuLevel::amx}) {
    if (level > cpu_level_available()) continue;
    const ForceCpuLevel force(level);
    const Peak fp32 = peak_fp32(), bf16 = peak_bf16();
    EXPECT_FALSE(fp32.unit.empty());
    EXPECT_GT(fp32.flops_per_second, 1e6);
    EXPECT_EQ(bf16.unit.empty(), bf16.flops_per_second == 0);
    EXPECT_EQ(level == CpuLevel::amx, bf16.unit == "AMX bf16");
  }
}

TEST(Peak, MemoryIsRead) { EXPECT_GT(read_bandwidth(1 << 22), 1e6); }

}  // namespace
}  // namespace mneme
