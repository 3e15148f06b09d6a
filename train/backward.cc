#include "train/backward.h"

#include "base/error.h"
#include "memory/read.h"
#include "ops/cross_entropy.h"
#include "train/truncation.h"

namespace mneme {
namespace {

struct Piece {
  Tensor ids, labels;  // [B, T of the segment]
  std::vector<int64_t> count;
  std::vector<bool> reset;
};

std::vector<Piece> cut(const Sample& s, int64_t segment) {
  std::vector<Piece> out;
  const int64_t length = s.ids.size(1);
  if (s.goes_on()) segment = length / s.reset.size(1);
  for (int64_t at = 0; at < length; at += segment) {
    const int64_t n = std::min(segment, length - at);
    out.push_back({s.ids.narrow(1, at, n), s.labels.narrow(1, at, n), {}, {}});
    for (int64_t r = 0; s.goes_on() && r < s.ids.size(0); ++r) {
      out.back().count.push_back(s.count[r][at / segment].item<int64_t>());
      out.back().reset.push_back(s.reset[r][at / segment].item<bool>());
    }
  }
  return out;
}

Batch batch_of(const Piece& piece) {
  Batch batch;
  batch.ids = piece.ids.contiguous();
  batch.count = piece.count;
  batch.reset = piece.reset;
  return batch;
}

// Labels of a prediction beside the text's.
Tensor labels_of(const Prediction& p, const Tensor& text) {
  const Tensor row = at::tensor(p.row, at::kLong), at = at::tensor(p.at, at::kLong);
  const Tensor own = text.index({row, at});
  return p.token < 0 ? own : at::where(own < 0, own, at::full_like(own, p.token));
}

// Losses of a segment's positions, then those of the method's own predictions; undefined where nothing is
// labelled.
LossResult segment_loss(const Model& model, const Piece& piece, State& state, const ReadOptions& options,
                        bool correct) {
  const Reading reading = read(model, batch_of(piece), state, options);
  if ((piece.labels < 0).all().item<bool>()) return {};
  std::vector<Tensor> hidden = {reading.hidden.reshape({-1, reading.hidden.size(2)})};
  std::vector<Tensor> targets = {piece.labels.reshape(-1)};
  for (const Prediction& p : reading.extra) {
    hidden.push_back(p.hidden);
    targets.push_back(labels_of(p, piece.labels));
  }
  const bool plain = hidden.size() == 1;
  return head_cross_entropy(plain ? hidden[0] : at::cat(hidden), model.decoder->head(),
                            model.decoder->head_bias(),
                            (plain ? targets[0] : at::cat(targets)).to(reading.hidden.device()), correct);
}

// What both ways of finding gradients are given: texts in pieces, and whom to tell before the last backward
// pass.
struct Task {
  Task(const Model& model, const Sample& sample, int64_t segment, const TrainOptions& options,
       const std::function<void()>& last_pass)
      : model_(model),
        rows_(sample.ids.size(0)),
        pieces_(cut(sample, segment)),
        options_(options),
        last_pass_(last_pass) {}

  const Model& model_;
  const int64_t rows_;
  const std::vector<Piece> pieces_;
  const TrainOptions& options_;
  const std::function<void()>& last_pass_;
};

class Unrolled : private Task {
 public:
  using Task::Task;

  double run(int64_t count, const ReadOptions& reading, State& state) const {
    const Truncation kind = parse_truncation(options_.truncation);
    Tensor total;
    const auto n = static_cast<int64_t>(pieces_.size());
    for (int64_t t = 0; t < n; ++t) {
      const Cuts cuts = cuts_at(kind, t, n, options_.depth);
      if (cuts.before) state = state.detached();
      const Tensor loss = segment_loss(model_, pieces_[static_cast<size_t>(t)], state, reading, false).loss;
      if (loss.defined()) total = total.defined() ? total + loss.sum() : loss.sum();
      if (cuts.after) state = state.detached();
    }
    state = state.detached();
    if (!total.defined()) return 0;  // a part of a batch without a label of its own
    const Tensor mean = total / static_cast<double>(count);
    if (last_pass_) last_pass_();
    mean.backward();
    return mean.item<double>();
  }
};

// What of a row may carry gradients to the segment before, by names: its tensors, and the keys and values of
// caches that are part of the graph.
class Carried {
 public:
  explicit Carried(Row& row) : row_(row) {}

  // Makes leaves of them. `caches`: those of keys and values too.
  std::map<std::string, Tensor> leaves(bool caches) {
    std::map<std::string, Tensor> out;
    const auto leaf = [&](const std::string& name, const Tensor& t) {
      return out[name] = t.detach().clone().set_requires_grad(true);
    };
    for (auto& [name, t] : row_.tensors) t = leaf("tensor " + name, t);
    if (!caches) return out;
    each_cache([&](const std::string& name, KvCache& cache) {
      std::vector<Tensor> k, v;
      for (int64_t l = 0; l < cache.layers(); ++l) {
        const auto [dense_k, dense_v] = cache.dense(l);
        k.push_back(leaf(name + " k " + std::to_string(l), dense_k).transpose(0, 1));
        v.push_back(leaf(name + " v " + std::to_string(l), dense_v).transpose(0, 1));
      }
      KvCache fresh(cache.layout().page_slots);
      fresh.push_page(std::move(k), std::move(v));
      cache = std::move(fresh);
    });
    return out;
  }

  // By the same names, those that have a graph.
  std::map<std::string, Tensor> values() {
    std::map<std::string, Tensor> out;
    for (const auto& [name, t] : row_.tensors) {
      if (t.requires_grad()) out["tensor " + name] = t;
    }
    each_cache([&](const std::string& name, KvCache& cache) {
      if (!cache.requires_grad()) return;
      for (int64_t l = 0; l < cache.layers(); ++l) {
        std::tie(out[name + " k " + std::to_string(l)], out[name + " v " + std::to_string(l)]) =
            cache.dense(l);
      }
    });
    return out;
  }

  bool caches() {
    bool any = false;
    each_cache([&](const std::string&, KvCache&) { any = true; });
    return any;
  }
  bool caches_with_graph() {
    bool any = false;
    each_cache([&](const std::string&, KvCache& cache) { any = any || cache.requires_grad(); });
    return any;
  }

 private:
  template <class F>
  void each_cache(const F& f) {
    if (!row_.working.empty()) f("working", row_.working);
    for (auto& [name, cache] : row_.caches) {
      if (!cache.empty()) f("cache " + name, cache);
    }
  }
  Row& row_;
};

class Replay : private Task {
 public:
  using Task::Task;

  double run(int64_t count, const ReadOptions& reading, State& state) {
    entering_.push_back({std::move(state)});
    forwards(reading);
    const Truncation kind = parse_truncation(options_.truncation);
    const auto n = static_cast<int64_t>(pieces_.size());
    double total = 0;
    flowing_.assign(static_cast<size_t>(rows_), {});
    for (int64_t t = n; t-- > 0;) {
      const Cuts cuts = cuts_at(kind, t, n, options_.depth);
      if (cuts.after) flowing_.assign(flowing_.size(), {});
      State after = entering_[static_cast<size_t>(t)].state;
      total += backwards(static_cast<size_t>(t), count, reading, after);
      if (t + 1 == n) state = after.detached();
      if (cuts.before) flowing_.assign(flowing_.size(), {});
      entering_.pop_back();
    }
    return total;
  }

 private:
  using Gradients = std::vector<std::map<std::string, Tensor>>;  // by row and name
  struct Entering {
    State state;          // before a segment, without a graph
    bool caches = false;  // its keys and values are part of the graph
  };

  static bool any_row(State& state, bool (Carried::*holds)()) {
    for (Row& r : state.rows) {
      Carried row(r);
      if ((row.*holds)()) return true;
    }
    return false;
  }

  State forwards(const State& from, const Piece& piece, const ReadOptions& reading, bool graph) const {
    const at::AutoGradMode mode(graph);
    State state = from;
    read(model_, batch_of(piece), state, reading);
    return state;
  }

  // Whether keys and values that go from segment to segment are constants or part of the graph shows only
  // with a graph; methods that keep none are read without one.
  void forwards(const ReadOptions& reading) {
    bool graph = false;
    for (size_t t = 0; t + 1 < pieces_.size(); ++t) {
      const State from = entering_.back().state;
      State next = forwards(from, pieces_[t], reading, graph);
      if (!graph && any_row(next, &Carried::caches)) {
        graph = true;
        next = forwards(from, pieces_[t], reading, graph);
      }
      const bool caches = graph && any_row(next, &Carried::caches_with_graph);
      entering_.push_back({next.detached(), caches});
    }
  }

  // Segment t with a graph of its own, from `state`, which becomes what it leaves: its loss, and what flows
  // back into that. What flows into the state that it enters with remains in flowing_.
  double backwards(size_t t, int64_t count, const ReadOptions& reading, State& state) {
    Gradients leaves;
    for (Row& r : state.rows) leaves.push_back(Carried(r).leaves(entering_[t].caches));
    const Tensor losses = segment_loss(model_, pieces_[t], state, reading, false).loss;
    double value = 0;
    Tensor sum;  // its gradient is that of the loss, plus what flows in
    const auto add = [&](const Tensor& term) {
      if (term.requires_grad()) sum = sum.defined() ? sum + term.to(at::kDouble) : term.to(at::kDouble);
    };
    if (losses.defined()) {
      const Tensor mean = losses.sum() / static_cast<double>(count);
      value = mean.item<double>();
      add(mean);
    }
    for (size_t r = 0; r < flowing_.size(); ++r) {
      if (flowing_[r].empty()) continue;
      for (const auto& [name, out] : Carried(state.rows[r]).values()) {
        const auto g = flowing_[r].find(name);
        if (g != flowing_[r].end()) add((out * g->second.to(out.scalar_type())).sum());
      }
    }
    if (t == 0 && last_pass_) last_pass_();
    if (sum.defined()) sum.backward();
    flowing_.assign(leaves.size(), {});
    for (size_t r = 0; r < leaves.size(); ++r) {
      for (const auto& [name, leaf] : leaves[r]) {
        if (leaf.grad().defined()) flowing_[r][name] = leaf.grad();
      }
    }
    return value;
  }

  std::vector<Entering> entering_;
  Gradients flowing_;  // d loss / d (state after the segment)
};

}  // namespace

int64_t training_segment(const Model& model, int64_t text) {
  const State fresh = model.initial(1);
  return std::min(model.memory->training_room(fresh.rows[0]), text);
}

int64_t labelled_positions(const Model& model, const Sample& sample, int64_t segment, const Draws* draws) {
  int64_t n = labelled_positions(sample);
  for (const Piece& p : cut(sample, segment)) n += model.memory->extra_labels(p.labels, p.count, draws);
  return n;
}

int64_t labelled_positions(const Sample& s) {
  const int64_t n = (s.labels >= 0).sum().item<int64_t>();
  if (n == 0) {
    throw Error(Kind::input, "a batch without a single label: every token is masked",
                "look at the masks with 'mneme data inspect'; use longer texts or more of them in an update");
  }
  return n;
}

StepResult backward(const Model& model, const Sample& sample, int64_t segment, int64_t count,
                    const TrainOptions& options, const Draws* draws, State* state,
                    const std::function<void()>& last_pass) {
  State fresh;
  if (!state) {
    fresh = model.initial(sample.ids.size(0));
    state = &fresh;
  }
  ReadOptions reading;
  reading.draws = draws;
  StepResult out;
  out.labelled = (sample.labels >= 0).sum().item<int64_t>();
  for (const Piece& p : cut(sample, segment)) {
    out.labelled += model.memory->extra_labels(p.labels, p.count, draws);
  }
  out.loss = options.backward == "replay"
                 ? Replay(model, sample, segment, options, last_pass).run(count, reading, *state)
                 : Unrolled(model, sample, segment, options, last_pass).run(count, reading, *state);
  return out;
}

Measured measure(const Model& model, const Sample& sample, int64_t segment, Trace* trace) {
  const at::NoGradGuard no_grad;
  Measured m;
  m.labelled = labelled_positions(sample);
  State state = model.initial(sample.ids.size(0));
  ReadOptions reading;
  reading.trace = trace;
  for (const Piece& p : cut(sample, segment)) {
    const LossResult r = segment_loss(model, p, state, reading, true);
    if (!r.loss.defined()) continue;
    m.loss += r.loss.sum().item<double>();
    m.accuracy += static_cast<double>(r.correct.sum().item<int64_t>());
  }
  m.loss /= static_cast<double>(m.labelled);
  m.accuracy /= static_cast<double>(m.labelled);
  return m;
}

}  // namespace mneme
