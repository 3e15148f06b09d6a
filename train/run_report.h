// The metrics of runs as one HTML page that stands alone: curves as SVG, the runs over each other, light and
// dark by the reader's setting. It reads RUN/metrics.jsonl (train/metrics.h) and writes text; it knows no
// model.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mneme {

struct RunMetrics {
  std::string name;  // what the page calls the run
  // By metric: (step, value), in the order of steps.
  std::map<std::string, std::vector<std::pair<double, double>>> curves;
};

// Throws Error{input} where the folder has no metrics, or a line is none.
RunMetrics read_run(const std::string& folder);

std::string run_report(const std::vector<RunMetrics>& runs);

}  // namespace mneme
