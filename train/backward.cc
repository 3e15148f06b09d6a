// Loss and gradients of one batch of texts, in one graph or by replay.
#include "base/error.h"
#include "memory/read.h"
#include "ops/cross_entropy.h"
#include "train/trainer.h"

namespace mneme {
namespace {

struct Piece {
  Tensor ids, labels;  // [B, T of the segment]
};

std::vector<Piece> cut(const Sample& s, int64_t segment) {
  std::vector<Piece> out;
  const int64_t length = s.ids.size(1);
  for (int64_t at = 0; at < length; at += segment) {
    const int64_t n = std::min(segment, length - at);
    out.push_back({s.ids.narrow(1, at, n), s.labels.narrow(1, at, n)});
  }
  return out;
}

int64_t labelled(const Sample& s) {
  const int64_t n = (s.labels >= 0).sum().item<int64_t>();
  if (n == 0) throw Error(Kind::input, "a batch without a single label", "check the loss mask of the data");
  return n;
}

// Sum of the losses of a segment; an undefined tensor where nothing is labelled.
LossResult segment_loss(const Model& model, const Piece& piece, State& state, const Draws* draws,
                        bool correct) {
  Batch batch;
  batch.ids = piece.ids.contiguous();
  ReadOptions options;
  options.draws = draws;
  const Tensor hidden = read(model, batch, state, options).hidden;
  const Tensor targets = piece.labels.reshape(-1).to(hidden.device());
  if ((targets < 0).all().item<bool>()) return {};
  return head_cross_entropy(hidden.reshape({-1, hidden.size(2)}), model.decoder->head(),
                            model.decoder->head_bias(), targets, correct);
}

// The state's tensors as leaves of a graph, and their gradients by row and name.
using Gradients = std::vector<std::map<std::string, Tensor>>;

State leaves_of(const State& state) {
  State out = state.detached();
  for (Row& r : out.rows) {
    for (auto& [name, t] : r.tensors) t = t.clone().set_requires_grad(true);
  }
  return out;
}

}  // namespace

int64_t training_segment(const Model& model, int64_t text) {
  const State fresh = model.initial(1);
  return std::min(model.memory->training_room(fresh.rows[0]), text);
}

StepResult unrolled_backward(const Model& model, const Sample& sample, int64_t segment,
                             const TrainOptions& options, const Draws* draws) {
  const int64_t count = labelled(sample);
  const Truncation kind = parse_truncation(options.truncation);
  State state = model.initial(sample.ids.size(0));
  Tensor total;
  const std::vector<Piece> pieces = cut(sample, segment);
  const auto n = static_cast<int64_t>(pieces.size());
  for (int64_t t = 0; t < n; ++t) {
    const Cuts cuts = cuts_at(kind, t, n, options.depth);
    if (cuts.before) state = state.detached();
    const Tensor loss = segment_loss(model, pieces[static_cast<size_t>(t)], state, draws, false).loss;
    if (loss.defined()) total = total.defined() ? total + loss.sum() : loss.sum();
    if (cuts.after) state = state.detached();
  }
  const Tensor mean = total / static_cast<double>(count);
  mean.backward();
  return {mean.item<double>(), count};
}

StepResult replayed_backward(const Model& model, const Sample& sample, int64_t segment, const Draws* draws) {
  const int64_t count = labelled(sample);
  const std::vector<Piece> pieces = cut(sample, segment);
  std::vector<State> entering;  // the state before each segment, without a graph
  {
    const at::NoGradGuard forward_only;
    State state = model.initial(sample.ids.size(0));
    for (const Piece& p : pieces) {
      entering.push_back(state);
      Batch batch;
      batch.ids = p.ids.contiguous();
      ReadOptions options;
      options.draws = draws;
      read(model, batch, state, options);
    }
  }
  double total = 0;
  Gradients flowing;  // d loss / d (state after the segment)
  for (size_t t = pieces.size(); t-- > 0;) {
    State before = leaves_of(entering[t]);
    const State leaves = before;
    const Tensor loss = segment_loss(model, pieces[t], before, draws, false).loss;
    std::vector<Tensor> roots, grads;
    if (loss.defined()) {
      roots.push_back(loss.sum() / static_cast<double>(count));
      grads.push_back(at::ones({}, roots.back().options()));
      total += roots.back().item<double>();
    }
    for (size_t r = 0; r < flowing.size(); ++r) {
      for (const auto& [name, g] : flowing[r]) {
        const auto out = before.rows[r].tensors.find(name);
        if (out == before.rows[r].tensors.end() || !out->second.requires_grad()) continue;
        roots.push_back(out->second);
        grads.push_back(g);
      }
    }
    // One backward pass from all of them: their weighted sum.
    Tensor sum;
    for (size_t i = 0; i < roots.size(); ++i) {
      const Tensor term = (roots[i] * grads[i].to(roots[i].scalar_type())).sum().to(at::kDouble);
      sum = sum.defined() ? sum + term : term;
    }
    if (sum.defined() && sum.requires_grad()) sum.backward();
    flowing.assign(leaves.rows.size(), {});
    for (size_t r = 0; r < leaves.rows.size(); ++r) {
      for (const auto& [name, leaf] : leaves.rows[r].tensors) {
        if (leaf.grad().defined()) flowing[r][name] = leaf.grad();
      }
    }
  }
  return {total, count};
}

Measured measure(const Model& model, const Sample& sample, int64_t segment) {
  const at::NoGradGuard no_grad;
  Measured m;
  m.labelled = labelled(sample);
  State state = model.initial(sample.ids.size(0));
  for (const Piece& p : cut(sample, segment)) {
    const LossResult r = segment_loss(model, p, state, nullptr, true);
    if (!r.loss.defined()) continue;
    m.loss += r.loss.sum().item<double>();
    m.accuracy += static_cast<double>(r.correct.sum().item<int64_t>());
  }
  m.loss /= static_cast<double>(m.labelled);
  m.accuracy /= static_cast<double>(m.labelled);
  return m;
}

}  // namespace mneme
