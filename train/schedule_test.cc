#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "io/testing.h"

namespace mneme {
namespace {

ScheduleOptions of_kind(const std::string& kind, double warmup_ratio = 0) {
  ScheduleOptions o;
  o.kind = kind;
  o.warmup_ratio = warmup_ratio;
  return o;
}

TEST(Schedule, WarmsUpFromZeroAndEndsAtItsFloor) {
  for (const std::string kind : {"linear", "cosine"}) {
    ScheduleOptions o = of_kind(kind);
    o.warmup = 10;
    o.floor = 0.1;
    EXPECT_EQ(rate_factor(o, 0, 100), 0);
    EXPECT_DOUBLE_EQ(rate_factor(o, 5, 100), 0.5);
    EXPECT_DOUBLE_EQ(rate_factor(o, 10, 100), 1);
    EXPECT_NEAR(rate_factor(o, 55, 100), 0.55, 1e-12);
    EXPECT_NEAR(rate_factor(o, 100, 100), 0.1, 1e-12);
    EXPECT_NEAR(rate_factor(o, 1000, 100), 0.1, 1e-12);
  }
}

TEST(Schedule, WarmUpByRatioIsRoundedUp) {
  const ScheduleOptions o = of_kind("constant", 0.025);  // 2.5 of 100
  EXPECT_DOUBLE_EQ(rate_factor(o, 2, 100), 2.0 / 3);
  EXPECT_EQ(rate_factor(o, 3, 100), 1);
  EXPECT_EQ(rate_factor(o, 99, 100), 1);
}

TEST(Schedule, OneCycleRisesFromAHundredthAndFallsToAFifth) {
  for (const std::string kind : {"onecycle", "onecycle_linear"}) {
    const ScheduleOptions by_ratio = of_kind(kind, 0.1);
    ScheduleOptions by_steps = of_kind(kind);
    by_steps.warmup = 10;
    for (const ScheduleOptions& o : {by_ratio, by_steps}) {
      EXPECT_NEAR(rate_factor(o, 0, 100), 0.01, 1e-12);
      EXPECT_NEAR(rate_factor(o, 9, 100), 1, 1e-12);
      EXPECT_NEAR(rate_factor(o, 54, 100), 0.6, 1e-12);
      EXPECT_NEAR(rate_factor(o, 99, 100), 0.2, 1e-12);
      EXPECT_NEAR(rate_factor(o, 500, 100), 0.2, 1e-12);
    }
  }
}

TEST(Schedule, StepsByGamma) {
  ScheduleOptions o = of_kind("step");
  o.gamma = 0.5;
  EXPECT_EQ(rate_factor(o, 99, 1000), 1);
  EXPECT_EQ(rate_factor(o, 250, 1000), 0.25);
  o.every = 10;
  EXPECT_EQ(rate_factor(o, 19, 1000), 0.5);
}

TEST(Schedule, LandmarksRates) {
  const std::string path = shared_path("goldens/landmark/data_and_schedules/io.safetensors");
  if (path.empty()) GTEST_SKIP() << "the reference data is not there";
  const SafetensorsFile file = SafetensorsFile::open(path);
  const nlohmann::json config = read_json(shared_path("goldens/landmark/data_and_schedules/config.json"));
  const std::pair<std::string, std::string> cases[] = {
      {"onecycle_cos", "onecycle"}, {"onecycle_linear", "onecycle_linear"}, {"llama_cosine", "cosine80"}};
  for (const auto& [name, kind] : cases) {
    const nlohmann::json& run = config.at("memory").at("schedules").at(name);
    const ScheduleOptions o = of_kind(kind, run.at("warmup").get<double>());
    const Tensor expected = file.tensor("lr." + name);
    ASSERT_EQ(expected.size(0), run.at("steps").get<int64_t>());
    for (int64_t s = 0; s < expected.size(0); ++s) {
      EXPECT_NEAR(run.at("lr").get<double>() * rate_factor(o, s, expected.size(0)),
                  expected[s].item<double>(), 1e-12)
          << name << " " << s;
    }
  }
}

TEST(Schedule, HmtsRates) {
  const std::string path = shared_path("goldens/hmt/data_pipeline/io.json");
  if (path.empty()) GTEST_SKIP() << "the reference data is not there";
  const nlohmann::json rates = read_json(path).at("lr");
  for (const std::string kind : {"step", "alternate"}) {
    ScheduleOptions o = of_kind(kind);
    o.gamma = rates.at("gamma").get<double>();
    ASSERT_FALSE(rates.at(kind).empty());
    for (const auto& [step, expected] : rates.at(kind).items()) {
      const double rate = rates.at("base_lr").get<double>() * rate_factor(o, std::stoll(step), 1000);
      EXPECT_NEAR(rate / expected.get<double>(), 1, 1e-12) << kind << " " << step;
    }
  }
}

TEST(Schedule, ValuesWithoutMeaningAreRefused) {
  const auto refused = [](auto change) {
    ScheduleOptions o;
    change(o);
    EXPECT_THROW(rate_factor(o, 0, 10), Error);
  };
  refused([](ScheduleOptions& o) { o.every = 0; });
  refused([](ScheduleOptions& o) { o.warmup = -1; });
  refused([](ScheduleOptions& o) { o.warmup_ratio = 1.5; });
  refused([](ScheduleOptions& o) { o.warmup_ratio = std::nan(""); });
  refused([](ScheduleOptions& o) { o.gamma = 0; });
  refused([](ScheduleOptions& o) { o.floor = 2; });
  refused([](ScheduleOptions& o) { o.kind = "sideways"; });
  refused([](ScheduleOptions& o) {
    o.kind = "onecycle";
    o.floor = 0.1;
  });
  refused([](ScheduleOptions& o) {
    o.warmup = 3;
    o.warmup_ratio = 0.1;
  });
}

TEST(Schedule, NoRateIsNegativeOrAboveTheBase) {
  for (const std::string kind :
       {"constant", "linear", "cosine", "cosine80", "onecycle", "onecycle_linear", "step", "alternate"}) {
    for (const int64_t n : {1, 2, 3, 100}) {
      for (const double ratio : {0.0, 0.03, 0.5, 1.0}) {
        for (int64_t s = 0; s < n + 2; ++s) {
          const double rate = rate_factor(of_kind(kind, ratio), s, n);
          EXPECT_TRUE(rate >= 0 && rate <= 1 + 1e-12) << kind << " " << s << " of " << n << ": " << rate;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mneme
