// The training loop: samples in segments through read(), losses, backward passes, one update; metrics,
// checkpoints that resume exactly, guards. It is not the choice of what is trained (train/trainable.h), nor
// of how gradients are found (train/backward.h).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/signals.h"
#include "train/backward.h"
#include "train/checkpoint.h"
#include "train/guard.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/options.h"
#include "train/sample_source.h"
#include "train/sharding.h"

namespace mneme {

struct TrainerSetup {
  TrainOptions options;
  uint64_t seed = 0;
  std::string folder;            // of the run
  nlohmann::json identity;       // more that must be equal for a run to go on (the data's options)
  double peak_flops = 0;         // of the matrix products, for the share of it; 0: not told
  Collectives* ranks = nullptr;  // of a data parallel training; rank 0 writes
};

class Trainer {
 public:
  // `trained`: as prepare_training returned them.
  Trainer(Model& model, const std::vector<Parameter>& trained, SampleSource& source, TrainerSetup setup);
  // Continues from the newest checkpoint in the folder, if there is one. Returns the exit code of a signal,
  // or 0, after which the model has its final weights.
  int run();

 private:
  struct Step {
    double loss = 0, norm = 0;
    int64_t tokens = 0;
    int stop = 0;  // the exit code that a signal to any rank asks for
  };
  bool first_rank() const { return !setup_.ranks || setup_.ranks->rank() == 0; }
  int64_t segments_at(int64_t step) const;
  Sample sample_of(int64_t step) const;
  Step update(int64_t step, const StopSignals& stop);
  double gradients(int64_t step, const Sample& all);  // of this rank's rows; their part of the loss
  double apply(int64_t step, double loss);            // the norm
  double held_out(int64_t segments, nlohmann::json& line) const;
  double log(const Step& last, double seconds, int64_t tokens);
  void save(double held_out_loss);
  NamedTensors optimizer_state() const;
  void resume();
  void take_best();

  Model& model_;
  SampleSource& source_;
  TrainerSetup setup_;
  const TrainOptions& options_;
  std::vector<Parameter> trained_, saved_;  // saved: also those of the memory that are not trained
  std::unique_ptr<Sharding> sharding_;      // of a data parallel training
  Optimizer optimizer_;
  Checkpoints checkpoints_;
  std::unique_ptr<Metrics> metrics_;
  TrainerState state_;
  double flops_per_token_ = 0;
};

}  // namespace mneme
