#include "train/guard.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mneme {
namespace {

constexpr double kMemory = 0.98;
constexpr int64_t kWarm = 50;  // updates before the smoothed loss means something

std::string advice(const std::string& folder) {
  return "the checkpoints in " + folder +
         " are from before; lower --train.optimizer.lr, add --train.schedule.warmup, lower "
         "--train.optimizer.clip_norm, or use --dtype fp32, and begin in another --out folder";
}

}  // namespace

void LossGuard::observe(int64_t done, double loss, double gradient_norm, double rise,
                        const std::string& folder) {
  const std::string at = "update " + std::to_string(done + 1) + ": ";
  if (!std::isfinite(loss))
    throw Error(Kind::numeric, at + "the loss is " + std::to_string(loss), advice(folder));
  if (!std::isfinite(gradient_norm)) {
    throw Error(Kind::numeric,
                at + "the loss is " + std::to_string(loss) + ", but its gradients' norm is " +
                    std::to_string(gradient_norm),
                advice(folder));
  }
  smoothed = done == 0 ? loss : kMemory * smoothed + (1 - kMemory) * loss;
  if (done < kWarm) {
    lowest = smoothed;
    return;
  }
  lowest = std::min(lowest, smoothed);
  if (rise > 0 && smoothed > lowest + rise) {
    throw Error(
        Kind::numeric,
        at + "the smoothed loss has risen from " + std::to_string(lowest) + " to " + std::to_string(smoothed),
        advice(folder));
  }
}

}  // namespace mneme
