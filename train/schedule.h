// Learning-rate schedules: pure functions of the update's number. Rates are multiples of the base rate.
//
//   constant
//   linear            to the floor (Hugging Face: 0)
//   cosine            to the floor: (1 + cos(pi x)) / 2
//   cosine80          (1 + cos(0.8 pi x)) / 2, which ends at 0.095 (Landmark's fine-tuning)
//   onecycle[_linear] from 1/100 up to 1, then down to 1/5, along a cosine or a line (Landmark from scratch)
//   step              gamma^(t / every), rounded down
//   alternate         the same, times 0.1 at even t (HMT's --dynamic)
//
// t counts updates after the warm-up, x is the share of them that is done. The warm-up is linear from 0, so
// the first update of a warm-up has rate 0, as in transformers; in onecycle it is the length of the rise.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace mneme {

struct ScheduleOptions {
  std::string kind = "cosine";
  int64_t warmup = 0, every = 100;
  double warmup_ratio = 0, gamma = 0.8, floor = 0;
  void visit(OptionVisitor& v) {
    v.choice("kind", kind,
             {"constant", "linear", "cosine", "cosine80", "onecycle", "onecycle_linear", "step", "alternate"},
             "how the learning rate falls");
    v.field("warmup", warmup, "updates of linear warm-up");
    v.field("warmup_ratio", warmup_ratio,
            "the same as a share of all updates, rounded up, where warmup is 0");
    v.field("gamma", gamma, "factor of step and alternate");
    v.field("every", every, "updates between two of their steps");
    v.field("floor", floor, "share of the base rate at which linear and cosine end");
  }
};

// Throws Error{usage} on values that make no sense together.
void validate(const ScheduleOptions& options);

// Of update s = 0, 1, ... of n. Beyond the last update the rate stays where it ended.
double rate_factor(const ScheduleOptions& options, int64_t s, int64_t n);

}  // namespace mneme
