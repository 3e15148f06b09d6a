// Checkpoints of a run: folders RUN/checkpoints/step-NNNNNNNNN that appear whole or not at all, with
//
//   weights.safetensors    the trained parameters, and all of the memory's
//   optimizer.safetensors  its state
//   trainer.json           the step, what must be equal for the run to go on, the guard's and the best's
//                          figures, and where the data stands
//   texts.safetensors      what is remembered of texts that go on, where there are any
//
// Random numbers are functions of the step, so nothing else is needed to go on bit for bit. The link
// RUN/checkpoints/best names the one with the lowest held-out loss.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "memory/state.h"
#include "model/decoder.h"

namespace mneme {

struct TrainerState {
  int64_t step = 0;                 // updates that are done
  double smoothed = 0, lowest = 0;  // of the loss, for the guard (train/guard.h)
  int64_t best_step = -1;           // the checkpoint with the lowest held-out loss
  double best_loss = 0;
  nlohmann::json data;  // the source's position (train/sample_source.h)
  State texts;          // of texts that go on in the next update
};

class Checkpoints {
 public:
  // `keep`: last ones that stay, beside the best.
  Checkpoints(const std::string& run_folder, int64_t keep);

  void clean() const;                      // removes what a killed save left
  std::vector<std::string> names() const;  // whole ones, oldest first
  bool empty() const { return names().empty(); }
  std::string path(int64_t step) const;

  // `identity`: what must be equal for the run to go on.
  void save(const TrainerState& state, const nlohmann::json& identity,
            const std::vector<Parameter>& parameters, const NamedTensors& optimizer);

  struct Found {
    TrainerState state;
    std::string path;
    SafetensorsFile weights, optimizer;
  };
  // The newest, after checking that it belongs to this run and fits the parameters. Throws Error{usage} for
  // another identity, naming what differs.
  Found newest(const nlohmann::json& identity, const std::vector<Parameter>& parameters) const;
  // The weights of one, checked against the parameters.
  static SafetensorsFile weights_in(const std::string& path, const std::vector<Parameter>& parameters);

 private:
  void prune(const TrainerState& state) const;
  std::string folder_;
  int64_t keep_;
};

// Copies each parameter's value out of the file, in place.
void load_weights(const SafetensorsFile& file, const std::vector<Parameter>& parameters);

}  // namespace mneme
