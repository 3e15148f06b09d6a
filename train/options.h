// The options of a training. What they mean together is train/trainer.h's business.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/trainable.h"

namespace mneme {

struct DropoutOptions {
  DropoutRates rates;
  void visit(OptionVisitor& v) {
    v.field("embedding", rates.embedding, "of the sum of embeddings and positions");
    v.field("attention", rates.attention, "of the attention's weights");
    v.field("residual", rates.residual, "of what each branch adds to the residual stream");
  }
};

struct TrainOptions {
  int64_t steps = 1000, batch = 16, micro_batch = 0, depth = -1, loss_segments = 0;
  int64_t log_every = 50, save_every = 500, keep = 2, held_out = 4;
  double divergence = 4;
  std::vector<int64_t> segments = {4};
  std::string truncation = "detach_before", backward = "unrolled", final = "last";
  bool recompute = false;
  DropoutOptions dropout;
  TrainableOptions trainable;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  void visit(OptionVisitor& v) {
    v.field("steps", steps, "updates of the weights");
    v.field("batch", batch, "texts of an update");
    v.field("micro_batch", micro_batch, "texts that are in memory together; 0: all of the batch");
    v.field("segments", segments, "segments of a text; several: a curriculum of equal parts");
    v.field("loss_segments", loss_segments, "last segments of a text that count in the loss; 0: all");
    v.field("depth", depth, "segments that a gradient crosses at most; -1: all of a text");
    v.choice("truncation", truncation, {"none", "detach_before", "detach_after"},
             "where the memory is cut off the graph");
    v.choice("backward", backward, {"unrolled", "replay"},
             "one graph over all segments, or segment by segment backwards with each read again (constant "
             "memory)");
    v.field("recompute", recompute,
            "compute each layer's norms, projections and MLP again in the backward pass, to save memory");
    v.section("dropout", dropout, "shares that are dropped while training");
    v.field("log_every", log_every, "updates between two lines of metrics");
    v.field("save_every", save_every, "updates between two checkpoints");
    v.field("keep", keep, "last checkpoints that are kept, beside the best one");
    v.choice(
        "final", final, {"last", "best"},
        "which weights the final model has: the last, or those of the checkpoint with the lowest held-out "
        "loss");
    v.field("held_out", held_out, "held-out batches that each line of metrics and each checkpoint measures");
    v.field("divergence", divergence,
            "stop when the smoothed loss stands this far above its lowest, in nats; 0: never");
    trainable.visit(v);
    v.section("optimizer", optimizer, "the update");
    v.section("schedule", schedule, "the learning rate");
  }
};

// Throws Error{usage} on values that make no sense.
void validate(const TrainOptions& options);

}  // namespace mneme
