// The training loop: samples in segments through read(), losses, one backward pass, one update; checkpoints
// that resume exactly, metrics, guards.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "memory/model.h"
#include "train/optimizer.h"
#include "train/sample_source.h"
#include "train/schedule.h"
#include "train/truncation.h"

namespace mneme {

struct TrainOptions {
  int64_t steps = 1000, batch = 16, depth = -1, log_every = 50, save_every = 500, keep = 2, held_out = 4;
  std::vector<int64_t> segments = {4};
  std::string truncation = "detach_before", backward = "unrolled";
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  void visit(OptionVisitor& v) {
    v.field("steps", steps, "updates of the weights");
    v.field("batch", batch, "texts of a batch");
    v.field("segments", segments, "segments of a text; several: a curriculum of equal parts");
    v.field("depth", depth, "segments that a gradient crosses at most; -1: all of a text");
    v.choice("truncation", truncation, {"none", "detach_before", "detach_after"},
             "where the memory is cut off the graph");
    v.choice("backward", backward, {"unrolled", "replay"},
             "one graph over all segments, or segment by segment backwards with each read again (constant "
             "memory)");
    v.field("log_every", log_every, "updates between two lines of metrics");
    v.field("save_every", save_every, "updates between two checkpoints");
    v.field("keep", keep, "checkpoints that are kept");
    v.field("held_out", held_out, "held-out batches that each line of metrics measures");
    v.section("optimizer", optimizer, "the update");
    v.section("schedule", schedule, "the learning rate");
  }
};

struct StepResult {
  double loss = 0;  // mean over labelled positions
  int64_t labelled = 0;
};

// Loss and gradients of one batch of texts; the state is fresh. Both ways of going backward give the same
// gradients.
StepResult unrolled_backward(const Model& model, const Sample& sample, int64_t segment,
                             const TrainOptions& options, const Draws* draws);
StepResult replayed_backward(const Model& model, const Sample& sample, int64_t segment, const Draws* draws);

struct Measured {
  double loss = 0, accuracy = 0;
  int64_t labelled = 0;
};
Measured measure(const Model& model, const Sample& sample, int64_t segment);

class Trainer {
 public:
  Trainer(Model& model, const SampleSource& source, const TrainOptions& options, uint64_t seed,
          std::string folder);
  // Continues from the newest whole checkpoint in the folder, if there is one. Returns the exit code of a
  // signal, or 0.
  int run();

 private:
  int64_t segments_at(int64_t step) const;
  void log(int64_t step, const StepResult& last, double norm, double seconds, int64_t tokens);
  void save(int64_t step) const;
  int64_t resume();  // the step to go on with

  Model& model_;
  const SampleSource& source_;
  TrainOptions options_;
  uint64_t seed_;
  std::string folder_;
  int64_t segment_;
  Optimizer optimizer_;
};

// Tokens of a segment of the model's method, or the whole text where it has no segments.
int64_t training_segment(const Model& model, int64_t text);

}  // namespace mneme
