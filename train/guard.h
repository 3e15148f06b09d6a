// Stops a training that has gone wrong before it spoils more: a loss or a gradient that is no number, or a
// loss that has left the ground it had gained. Both throw Error{numeric} (exit code 5); checkpoints stay as
// they are.
#pragma once

#include <cstdint>
#include <string>

namespace mneme {

// The loss, smoothed over about the last fifty updates, and the lowest that this has been.
struct LossGuard {
  double smoothed = 0, lowest = 0;

  // `done`: updates before this one. `rise`: how far the smoothed loss may stand above its lowest; 0: as far
  // as it likes. `folder` is named in the advice.
  void observe(int64_t done, double loss, double gradient_norm, double rise, const std::string& folder);
};

}  // namespace mneme
