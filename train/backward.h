// Loss and gradients of texts, in one graph over all segments or by replay: the segments are read forwards
// without a graph, keeping the state before each, and then backwards one by one, each read again with a
// graph. Both give the same gradients, also under truncation (train/truncation.h); replay holds the graph of
// one segment only. Gradients are added to those of the parameters.
#pragma once

#include <functional>

#include "memory/model.h"
#include "train/options.h"
#include "train/sample_source.h"

namespace mneme {

struct StepResult {
  double loss = 0;  // sum over labelled positions, divided by the caller's `count`
  int64_t labelled = 0;
};

// Positions with a label, in an evaluation. Throws Error{input} when there is none.
int64_t labelled_positions(const Sample& sample);
// And in training, where the method may have predictions of its own (Reading::extra). Row r of the sample
// draws at the draws' row + r.
int64_t labelled_positions(const Model& model, const Sample& sample, int64_t segment, const Draws* draws);

// `segment`: text tokens of a segment. `state`: where the texts stand, and after the call where they stand
// then, without a graph; null: the texts begin, and nothing is kept. `count` divides the sum of losses: the
// labelled positions of the whole batch, of which `sample` may be a part. `last_pass` is called before the
// last pass that adds to gradients.
StepResult backward(const Model& model, const Sample& sample, int64_t segment, int64_t count,
                    const TrainOptions& options, const Draws* draws, State* state = nullptr,
                    const std::function<void()>& last_pass = {});

struct Measured {
  double loss = 0, accuracy = 0;
  int64_t labelled = 0;
};
// Without gradients; `trace` collects what the method shows.
Measured measure(const Model& model, const Sample& sample, int64_t segment, Trace* trace = nullptr);

// Tokens of a segment of the model's method, or the whole text where it has no segments.
int64_t training_segment(const Model& model, int64_t text);

}  // namespace mneme
