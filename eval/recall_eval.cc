#include "eval/recall_eval.h"

#include <cmath>

#include "base/error.h"
#include "memory/read.h"
#include "ops/cross_entropy.h"

namespace mneme {
namespace {

constexpr double kZ = 1.959964;  // of 95%

double wilson(const Accuracy& a, double side) {
  if (a.asked == 0) return 0;
  const auto n = static_cast<double>(a.asked);
  const double p = a.value(), z2 = kZ * kZ / n;
  return (p + z2 / 2 + side * kZ * std::sqrt(p * (1 - p) / n + z2 / n / 4)) / (1 + z2);
}

struct Documents {
  Tensor ids, labels;  // [B, T]
};

Documents draw(const RecallTask& task, uint64_t seed, uint64_t first, int64_t rows) {
  const int64_t length = task.segment * task.segments;
  Documents d{at::empty({rows, length}, at::kLong), at::empty({rows, length}, at::kLong)};
  for (int64_t r = 0; r < rows; ++r) {
    const RecallDocument one = recall_document(task, seed, first + static_cast<uint64_t>(r));
    std::copy(one.ids.begin(), one.ids.end(), d.ids.data_ptr<int64_t>() + r * length);
    std::copy(one.labels.begin(), one.labels.end(), d.labels.data_ptr<int64_t>() + r * length);
  }
  return d;
}

}  // namespace

std::string memory_use_name(MemoryUse use) {
  switch (use) {
    case MemoryUse::on:
      return "on";
    case MemoryUse::off:
      return "off";
    case MemoryUse::shuffled:
      return "shuffled";
    case MemoryUse::foreign:
      return "foreign";
  }
  MNEME_CHECK(false, "unknown use of memory");
}

double Accuracy::low() const { return wilson(*this, -1); }
double Accuracy::high() const { return wilson(*this, 1); }

RecallResult evaluate_recall(const Model& model, const RecallTask& task, MemoryUse use, int64_t documents,
                             int64_t rows, uint64_t seed) {
  const at::NoGradGuard no_grad;
  check_task(task);
  if (rows < 2) throw Error(Kind::usage, "evaluation needs batches of at least 2 documents to swap memories");
  RecallResult result;
  result.by_distance.resize(static_cast<size_t>(task.segments - 1));
  constexpr uint64_t kForeign = uint64_t{1} << 41;
  for (int64_t first = 0; first < documents; first += rows) {
    const Documents own = draw(task, seed, static_cast<uint64_t>(first), rows);
    const Documents other = draw(task, seed, kForeign + static_cast<uint64_t>(first), rows);
    State state = model.initial(rows);
    for (int64_t s = 0; s < task.segments; ++s) {
      // A foreign memory has read the first segment of another document, and this document from there on.
      const Documents& source = use == MemoryUse::foreign && s == 0 ? other : own;
      Batch batch;
      batch.ids = source.ids.narrow(1, s * task.segment, task.segment).contiguous();
      batch.ends = std::vector<std::vector<int64_t>>(static_cast<size_t>(rows), {task.segment});
      if (use == MemoryUse::off) batch.reset.assign(static_cast<size_t>(rows), true);
      const Tensor hidden = read(model, batch, state).hidden;
      const Tensor targets = own.labels.narrow(1, s * task.segment, task.segment).reshape(-1);
      if (s > 0) {
        const LossResult loss =
            head_cross_entropy(hidden.reshape({-1, hidden.size(2)}), model.decoder->head(),
                               model.decoder->head_bias(), targets, /*want_correct=*/true);
        Accuracy& at = result.by_distance[static_cast<size_t>(s - 1)];
        at.asked += (targets >= 0).sum().item<int64_t>();
        at.right += loss.correct.sum().item<int64_t>();
      }
      if (use == MemoryUse::shuffled) {
        std::vector<int64_t> next;
        for (int64_t r = 0; r < rows; ++r) next.push_back((r + 1) % rows);
        state = state.select(next);
      }
    }
  }
  for (const Accuracy& a : result.by_distance) {
    result.all.asked += a.asked;
    result.all.right += a.right;
  }
  return result;
}

}  // namespace mneme
