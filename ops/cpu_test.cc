#include "ops/cpu.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mneme {
namespace {

TEST(Cpu, ForcingHoldsForALifetime) {
  const CpuLevel before = cpu_level();
  {
    const ForceCpuLevel force(CpuLevel::baseline);
    EXPECT_EQ(cpu_level(), CpuLevel::baseline);
  }
  EXPECT_EQ(cpu_level(), before);
  EXPECT_LE(before, cpu_level_available());
}

TEST(Cpu, RefusesALevelThatIsNotThere) {
  if (cpu_level_available() == CpuLevel::amx) GTEST_SKIP() << "this machine has every level";
  EXPECT_THROW(ForceCpuLevel(CpuLevel::amx), Error);
}

}  // namespace
}  // namespace mneme
