// Learning-rate schedules: pure functions of the update's number. Rates are multiples of the base rate.
//
//   constant; linear to zero; cosine to zero; cosine80: (1 + cos(0.8 pi x)) / 2 (Landmark's fine-tuning);
//   onecycle: cosine or linear from 1/100 up to 1 and down to 1/5 (Landmark from scratch);
//   step: gamma^(t / every); alternate: the same, times 0.1 on odd updates (HMT)
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace mneme {

struct ScheduleOptions {
  std::string kind = "cosine";
  int64_t warmup = 0;
  double warmup_ratio = 0, gamma = 0.8, floor = 0;
  int64_t every = 100;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind,
             {"constant", "linear", "cosine", "cosine80", "onecycle", "onecycle_linear", "step", "alternate"},
             "how the learning rate falls");
    v.field("warmup", warmup, "updates of linear warm-up");
    v.field("warmup_ratio", warmup_ratio, "the same as a share of all updates, where warmup is 0");
    v.field("gamma", gamma, "factor of step and alternate");
    v.field("every", every, "updates between two of its steps");
    v.field("floor", floor, "linear and cosine end at this share of the base rate");
  }
};

// Of update s = 0, 1, ... of n.
double rate_factor(const ScheduleOptions& options, int64_t s, int64_t n);

}  // namespace mneme
