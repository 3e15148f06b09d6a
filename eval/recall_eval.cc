#include "eval/recall_eval.h"

#include <algorithm>

#include "base/error.h"
#include "memory/read.h"
#include "ops/cross_entropy.h"

namespace mneme {
namespace {

struct Documents {
  Tensor ids, labels, distance;  // [B, T]
};

Documents draw(const RecallTask& task, uint64_t seed, uint64_t first, int64_t rows) {
  const int64_t length = task.segment * task.segments;
  const auto empty = [&] { return at::empty({rows, length}, at::kLong); };
  Documents d{empty(), empty(), empty()};
  for (int64_t r = 0; r < rows; ++r) {
    const RecallDocument one = recall_document(task, seed, first + static_cast<uint64_t>(r));
    std::copy(one.ids.begin(), one.ids.end(), d.ids.data_ptr<int64_t>() + r * length);
    std::copy(one.labels.begin(), one.labels.end(), d.labels.data_ptr<int64_t>() + r * length);
    std::copy(one.distance.begin(), one.distance.end(), d.distance.data_ptr<int64_t>() + r * length);
  }
  return d;
}

}  // namespace

RecallResult evaluate_recall(const Model& model, const RecallTask& task, MemoryUse use, int64_t documents,
                             int64_t most, uint64_t seed) {
  const at::NoGradGuard no_grad;
  check_task(task);
  if (most < 2 || documents < 2)
    throw Error(Kind::usage, "evaluation needs batches of at least 2 documents to swap memories");
  RecallResult result;
  result.by_distance.resize(static_cast<size_t>(task.segments));
  constexpr uint64_t kForeign = uint64_t{1} << 41;
  for (int64_t first = 0, rows = 0; first < documents; first += rows) {
    const int64_t left = documents - first;
    rows = left - most == 1 ? left : std::min(most, left);  // nobody is left alone
    const Documents own = draw(task, seed, static_cast<uint64_t>(first), rows);
    const Documents other = draw(task, seed, kForeign + static_cast<uint64_t>(first), rows);
    State state = model.initial(rows), others = model.initial(rows);
    for (int64_t s = 0; s < task.segments; ++s) {
      const auto segment = [&](const Documents& from) {
        Batch batch;
        batch.ids = from.ids.narrow(1, s * task.segment, task.segment).contiguous();
        batch.ends = std::vector<std::vector<int64_t>>(static_cast<size_t>(rows), {task.segment});
        return batch;
      };
      if (use == MemoryUse::off) state = model.initial(rows);
      if (use == MemoryUse::foreign) {
        state = others;
        read(model, segment(other), others);
      }
      const Tensor hidden = read(model, segment(own), state).hidden;
      const Tensor targets = own.labels.narrow(1, s * task.segment, task.segment).reshape(-1);
      if ((targets >= 0).any().item<bool>()) {
        const LossResult loss = head_cross_entropy(hidden.reshape({-1, hidden.size(2)}),
                                                   model.decoder->head(), model.decoder->head_bias(),
                                                   targets.to(hidden.device()), /*want_correct=*/true);
        const Tensor correct = loss.correct.cpu(),
                     distance = own.distance.narrow(1, s * task.segment, task.segment).reshape(-1);
        for (int64_t i = 0; i < targets.size(0); ++i) {
          if (targets.data_ptr<int64_t>()[i] < 0) continue;
          Accuracy& at = result.by_distance[static_cast<size_t>(distance.data_ptr<int64_t>()[i])];
          ++at.asked;
          at.right += correct.data_ptr<bool>()[i];
        }
      }
      if (use == MemoryUse::shuffled) state = rotated(state);
    }
  }
  for (const Accuracy& a : result.by_distance) {
    result.all.asked += a.asked;
    result.all.right += a.right;
  }
  return result;
}

}  // namespace mneme
