// Runs a reference case: the part of each method and kind is one function in a table.
#pragma once

#include "verify/golden_case.h"

namespace mneme {

// Throws Error{input} for a method or kind that no part knows.
Results run_case(const GoldenCase& golden);

// The parts.
Results run_rmt(const GoldenCase& golden);
Results run_hmt(const GoldenCase& golden);
Results run_landmark(const GoldenCase& golden);
Results run_data(const GoldenCase& golden);  // cases of kind "data", of every method

}  // namespace mneme
