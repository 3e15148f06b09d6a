#include "train/options.h"

#include "base/error.h"
#include "train/truncation.h"

namespace mneme {

void validate(const TrainOptions& o) {
  const auto require = [](bool holds, const std::string& what, int64_t found) {
    if (!holds) throw Error(Kind::usage, "train." + what + ", found " + std::to_string(found));
  };
  require(o.steps > 0, "steps: expected a positive number", o.steps);
  require(o.batch > 0, "batch: expected a positive number", o.batch);
  require(o.micro_batch >= 0, "micro_batch: expected 0 or more", o.micro_batch);
  require(o.loss_segments >= 0, "loss_segments: expected 0 or more", o.loss_segments);
  require(o.log_every > 0, "log_every: expected a positive number", o.log_every);
  require(o.save_every > 0, "save_every: expected a positive number", o.save_every);
  require(o.keep > 0, "keep: expected a positive number", o.keep);
  require(o.held_out >= 0, "held_out: expected 0 or more", o.held_out);
  require(!o.segments.empty(), "segments: expected at least one number", 0);
  for (const int64_t n : o.segments) require(n > 0, "segments: expected positive numbers", n);
  if (o.final == "best" && o.held_out == 0) {
    throw Error(Kind::usage, "train.final best needs held-out batches", "set train.held_out");
  }
  for (const double share :
       {o.dropout.rates.embedding, o.dropout.rates.attention, o.dropout.rates.residual}) {
    if (!(share >= 0 && share < 1))
      throw Error(Kind::usage,
                  "train.dropout: expected shares of at least 0 and below 1, found " + std::to_string(share));
  }
  parse_truncation(o.truncation);
  validate(o.schedule);
}

}  // namespace mneme
