#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/progress.h"
#include "data/recipes_hmt.h"
#include "memory/read.h"
#include "ops/cross_entropy.h"

namespace mneme {
namespace {

constexpr int64_t kPiece = 512;  // tokens of one call for a method without segments; the result is the same

// Tokens [at, at + most) of some rows and what follows them.
struct Piece {
  Batch batch;
  Tensor targets;  // [B, T], -100 where a row has no more
};

Piece piece_of(const std::vector<const std::vector<int32_t>*>& rows, int64_t at, int64_t most) {
  const auto n = static_cast<int64_t>(rows.size());
  int64_t width = 0;
  Piece p;
  for (const auto* ids : rows) {
    const int64_t left = static_cast<int64_t>(ids->size()) - 1 - at;
    p.batch.count.push_back(std::clamp<int64_t>(left, 0, most));
    width = std::max(width, p.batch.count.back());
  }
  p.batch.ids = at::zeros({n, width}, at::kLong);
  p.targets = at::full({n, width}, -100, at::kLong);
  for (int64_t r = 0; r < n; ++r) {
    const auto& ids = *rows[static_cast<size_t>(r)];
    for (int64_t t = 0; t < p.batch.count[static_cast<size_t>(r)]; ++t) {
      p.batch.ids.data_ptr<int64_t>()[r * width + t] = ids[static_cast<size_t>(at + t)];
      p.targets.data_ptr<int64_t>()[r * width + t] = ids[static_cast<size_t>(at + t + 1)];
    }
  }
  const bool whole =
      std::all_of(p.batch.count.begin(), p.batch.count.end(), [&](int64_t count) { return count == width; });
  if (whole) p.batch.count.clear();
  return p;
}

// Nats of each token, [B, T], 0 where nothing is asked.
Tensor nats_of(const Model& model, const Piece& piece, State& state) {
  const Tensor hidden = read(model, piece.batch, state).hidden;
  const Tensor targets = piece.targets.reshape(-1).to(hidden.device());
  const LossResult loss = head_cross_entropy(hidden.reshape({-1, hidden.size(2)}), model.decoder->head(),
                                             model.decoder->head_bias(), targets);
  return loss.loss.to(at::kCPU, at::kDouble).reshape(piece.targets.sizes());
}

State first_rows(const State& state, size_t count) {
  std::vector<int64_t> which(count);
  std::iota(which.begin(), which.end(), int64_t{0});
  return state.select(which);
}

// One batch of documents, the longest first, from begin to end.
class Walk {
 public:
  Walk(const Model& model, std::vector<const std::vector<int32_t>*> rows, MemoryUse use)
      : model_(model), rows_(std::move(rows)), use_(use), grid_(segment_of(model)) {}

  // `count(row, segment, nats of its tokens, how many)` for each row and segment.
  template <class F>
  void run(F count, Progress& progress) {
    const auto rows = static_cast<int64_t>(rows_.size());
    const int64_t piece = grid_.value_or(kPiece);
    State state = model_.initial(rows);
    State left = state;  // foreign: what each document has left, read by itself
    for (int64_t at = 0, segment = 0; !rows_.empty(); at += piece, ++segment) {
      while (!rows_.empty() && static_cast<int64_t>(rows_.back()->size()) - 1 <= at) rows_.pop_back();
      if (rows_.empty()) break;
      const Piece p = piece_of(rows_, at, piece);
      if (use_ == MemoryUse::off) state = model_.initial(static_cast<int64_t>(rows_.size()));
      if (use_ == MemoryUse::foreign) state = rotated(left);
      if (static_cast<size_t>(state.size()) > rows_.size()) state = first_rows(state, rows_.size());
      const Tensor nats = nats_of(model_, p, state);
      for (size_t r = 0; r < rows_.size(); ++r) {
        const int64_t tokens = p.batch.count.empty() ? p.batch.ids.size(1) : p.batch.count[r];
        count(r, segment, nats[static_cast<int64_t>(r)].sum().item<double>(), tokens);
        progress.advance(static_cast<uint64_t>(tokens));
      }
      if (use_ == MemoryUse::shuffled) state = rotated(state);
      if (use_ == MemoryUse::foreign) go_on(left, p);
    }
  }

 private:
  // Documents that have ended keep the state that they ended with.
  void go_on(State& left, const Piece& p) const {
    State running = first_rows(left, rows_.size());
    read(model_, p.batch, running);
    std::move(running.rows.begin(), running.rows.end(), left.rows.begin());
  }

  const Model& model_;
  std::vector<const std::vector<int32_t>*> rows_;  // those that go on
  MemoryUse use_;
  std::optional<int64_t> grid_;
};

size_t stretch_of(int64_t segment) {
  size_t stretch = 0;
  while (segment > 0) segment /= 2, ++stretch;
  return stretch;
}

}  // namespace

double Perplexity::value() const { return std::exp(nats()); }

std::optional<double> Perplexity::bits_per_byte(const std::vector<EvalDocument>& of) const {
  double nats = 0, bytes = 0;
  for (size_t d = 0; d < of.size(); ++d) {
    if (of[d].bytes == 0) return std::nullopt;
    nats += documents[d].sum;
    bytes += static_cast<double>(of[d].bytes);
  }
  return nats / bytes / std::log(2.0);
}

Perplexity document_perplexity(const Model& model, const std::vector<EvalDocument>& documents, MemoryUse use,
                               int64_t rows) {
  const at::NoGradGuard no_grad;
  if (rows < 1) throw Error(Kind::usage, "expected at least one document of a batch");
  if (use != MemoryUse::on && !segment_of(model))
    throw Error(Kind::usage,
                "the memory of '" + model.options.method + "' has no segments to forget it after");
  const bool pairs = use == MemoryUse::shuffled || use == MemoryUse::foreign;
  if (pairs && (rows < 2 || documents.size() < 2))
    throw Error(Kind::usage, "swapping memories needs batches of at least 2 documents");
  std::vector<size_t> order(documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return documents[a].ids.size() > documents[b].ids.size(); });
  Perplexity result;
  result.documents.resize(documents.size());
  uint64_t tokens = 0;
  for (const EvalDocument& d : documents) tokens += d.ids.size() - 1;
  Progress progress("eval", "memory " + memory_use_name(use), "tokens", tokens);
  const auto batch = static_cast<size_t>(rows);
  for (size_t first = 0; first < order.size();) {
    size_t last = std::min(first + batch, order.size());
    if (pairs && order.size() - last == 1) --last;  // nobody stays alone
    if (pairs && last - first < 2) last = order.size();
    std::vector<const std::vector<int32_t>*> ids;
    for (size_t i = first; i < last; ++i) ids.push_back(&documents[order[i]].ids);
    Walk(model, std::move(ids), use)
        .run(
            [&](size_t row, int64_t segment, double nats, int64_t count) {
              Part& document = result.documents[order[first + row]];
              const size_t stretch = stretch_of(segment);
              while (result.by_depth.size() <= stretch) {
                const auto so_far = result.by_depth.size();
                result.by_depth.push_back({so_far == 0 ? 0 : int64_t{1} << (so_far - 1), {}});
              }
              for (Part* part : {&document, &result.by_depth[stretch].nats}) {
                part->sum += nats;
                part->weight += static_cast<double>(count);
              }
            },
            progress);
    first = last;
  }
  progress.finish();
  return result;
}

std::vector<Part> costs(const Perplexity& a, const Perplexity& b) {
  std::vector<Part> out;
  for (size_t d = 0; d < a.documents.size(); ++d)
    out.push_back({b.documents[d].sum - a.documents[d].sum, a.documents[d].weight});
  return out;
}

namespace {

// The windows of each batch, as the originals' loaders put them together: RMT's batch i + 1 goes on where
// batch i ended, row by row; HMT's takes them in turn. Windows that fill no batch are left out by both.
std::vector<std::vector<Ids>> batches_of(std::vector<Ids> windows, int64_t rows, bool hmt) {
  const auto n = static_cast<int64_t>(windows.size());
  rows = std::min(rows, n);
  std::vector<std::vector<Ids>> batches(static_cast<size_t>(rows ? n / rows : 0));
  const auto count = static_cast<int64_t>(batches.size());
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t r = 0; r < rows; ++r)
      batches[static_cast<size_t>(i)].push_back(
          std::move(windows[static_cast<size_t>(hmt ? i * rows + r : r * count + i)]));
  }
  return batches;
}

// A batch as the originals' collators make it, and the labels that count, at the places that predict them.
struct Padded {
  Tensor ids, mask, targets;  // [B, T]; mask undefined without padding; targets -100 where nothing counts
};

Padded padded(const std::vector<Ids>& windows, const WindowProtocol& options) {
  const LeftPadded made = hmt_collate(windows, options.pad, options.block);
  const auto table = [&](const Ids& values) {
    return at::tensor(std::vector<int64_t>(values.begin(), values.end()), at::kLong)
        .view({made.rows, made.length});
  };
  Padded p{table(made.input_ids), table(made.attention_mask).to(at::kBool), {}};
  if (p.mask.all().item<bool>()) p.mask = Tensor();
  if (p.mask.defined() && options.pad < 0) {
    throw Error(Kind::usage, "windows of different lengths are padded, but the model names no padding token",
                "name one with --perplexity.pad");
  }
  p.targets = at::full_like(p.ids, -100);
  const int64_t last = made.length - 1;
  // RMT selects labels by the input's position, so that its block loses its first label.
  int64_t counted = options.hmt ? options.block : options.block - 1;
  if (made.length <= options.block) counted = last;
  p.targets.narrow(1, last - counted, counted)
      .copy_(table(made.labels).narrow(1, made.length - counted, counted));
  return p;
}

// The mean of the labels that count.
double window_loss(const Model& model, const Padded& p) {
  const int64_t length = p.ids.size(1), piece = segment_of(model).value_or(kPiece);
  State state = model.initial(p.ids.size(0));
  double sum = 0, count = 0;
  for (int64_t at = 0; at < length; at += piece) {
    const int64_t n = std::min(piece, length - at);
    Piece some;
    some.batch.ids = p.ids.narrow(1, at, n).contiguous();
    if (p.mask.defined()) some.batch.mask = p.mask.narrow(1, at, n).contiguous();
    some.targets = p.targets.narrow(1, at, n);
    const auto counted = some.targets.ne(-100).sum().item<double>();
    if (counted == 0) {
      read(model, some.batch, state);
      continue;
    }
    sum += nats_of(model, some, state).sum().item<double>();
    count += counted;
  }
  return count > 0 ? sum / count : 0;
}

}  // namespace

WindowPerplexity window_perplexity(const Model& model, const std::vector<EvalDocument>& documents,
                                   const WindowProtocol& options, int64_t rows) {
  const at::NoGradGuard no_grad;
  if (rows < 1) throw Error(Kind::usage, "expected at least one window of a batch");
  if (!options.hmt && options.block < 2)
    throw Error(Kind::usage, "a block of RMT's needs two tokens to count one");
  std::vector<Ids> texts;
  for (const EvalDocument& d : documents) texts.push_back(d.ids);
  std::vector<Ids> windows = hmt_samples(texts, options.block, options.history, options.hmt);
  if (options.most > 0 && static_cast<int64_t>(windows.size()) > options.most)
    windows.resize(static_cast<size_t>(options.most));
  const std::vector<std::vector<Ids>> batches = batches_of(std::move(windows), rows, options.hmt);
  WindowPerplexity result;
  Progress progress("eval", "windows", "batches", batches.size());
  for (const std::vector<Ids>& batch : batches) {
    const Padded p = padded(batch, options);
    if (p.ids.size(1) < 2) continue;  // the text's only token, alone
    const double loss = window_loss(model, p);
    result.batches.push_back({loss, 1});
    result.mean_of_exp += std::exp(loss);
    result.windows += static_cast<int64_t>(batch.size());
    progress.advance(1);
  }
  progress.finish();
  if (result.batches.empty()) throw Error(Kind::input, "the documents are too short for one window");
  result.nats = ratio(result.batches);
  result.mean_of_exp /= static_cast<double>(result.batches.size());
  return result;
}

}  // namespace mneme
