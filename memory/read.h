// The one function: training, evaluation, generation and serving are loops over it.
//
//   reading, state' = read(model, tokens, state)
//
// It cuts each row's tokens at segment ends (the method's grid, or explicit ones), and calls the method's
// moments for the rows that stand at the same moment. Rows keep their own length and phase.
#pragma once

#include "memory/model.h"

namespace mneme {

struct ReadOptions {
  const Draws* draws = nullptr;
  Trace* trace = nullptr;
  bool parallel = true;  // let methods run many segments at once where they can
};

// Throws before the state changes when the batch is malformed; a state that read() throws upon is unchanged.
Reading read(const Model& model, const Batch& batch, State& state, const ReadOptions& options = {});

}  // namespace mneme
