// What a run tells about itself while it goes: one JSON line per measurement in RUN/metrics.jsonl, and the
// same numbers as TensorBoard events beside it. After a resume both hold every step once.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "io/tensorboard.h"
#include "memory/model.h"

namespace mneme {

class Metrics {
 public:
  // Forgets lines behind `step`, which a killed run wrote after its last checkpoint.
  Metrics(const std::string& run_folder, int64_t step);

  // `line` has "step" and numbers; other values stay out of the events.
  void add(const nlohmann::json& line);

 private:
  void event(const nlohmann::json& line);
  std::string path_;
  std::unique_ptr<EventWriter> events_;
};

// The method's own figures: means of what a trace holds by name ("distance", "gate", ...), root mean squares
// of its vectors ("memory_rms"), and the mean opening of parameters that are gates.
nlohmann::json method_figures(const Model& model, const Trace& trace);

}  // namespace mneme
