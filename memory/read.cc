#include "memory/read.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

[[noreturn]] void malformed(const std::string& what) {
  throw Error(Kind::input, "read: " + what,
              "every row needs ids [rows, tokens], a count, and ends within its count");
}

void check(const Model& model, const Batch& b, const State& state) {
  if (!b.ids.defined() || b.ids.dim() != 2 || b.ids.scalar_type() != at::kLong || !b.ids.device().is_cpu()) {
    malformed("expected int64 ids [rows, tokens] on the CPU, found " + describe(b.ids));
  }
  const int64_t rows = b.ids.size(0), most = b.ids.size(1);
  if (rows != state.size()) {
    malformed(std::to_string(rows) + " rows of ids for a state of " + std::to_string(state.size()) + " rows");
  }
  const auto fits = [&](size_t n) { return n == 0 || n == static_cast<size_t>(rows); };
  if (!fits(b.count.size()) || !fits(b.reset.size())) malformed("counts or resets of another number of rows");
  if (b.mask.defined() && b.mask.sizes() != b.ids.sizes()) malformed("a mask of shape " + describe(b.mask));
  if (b.ends && b.ends->size() != static_cast<size_t>(rows))
    malformed("segment ends of another number of rows");
  const Tensor ids = b.ids.contiguous();
  const int64_t vocab = model.decoder->config().vocab;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t n = b.count.empty() ? most : b.count[static_cast<size_t>(r)];
    if (n < 0 || n > most)
      malformed("a count of " + std::to_string(n) + " for " + std::to_string(most) + " tokens");
    const int64_t* line = ids.data_ptr<int64_t>() + r * most;
    for (int64_t t = 0; t < n; ++t) {
      if (line[t] < 0 || line[t] >= vocab) {
        throw Error(Kind::input,
                    "token " + std::to_string(line[t]) + " at row " + std::to_string(r) + ", position " +
                        std::to_string(t) + " is not in the vocabulary of " + std::to_string(vocab),
                    "use the tokenizer of this model");
      }
    }
    if (!b.ends) continue;
    int64_t before = -1;
    for (int64_t e : (*b.ends)[static_cast<size_t>(r)]) {
      if (e <= before || e < 0 || e > n) malformed("segment ends must ascend within 0.." + std::to_string(n));
      before = e;
    }
  }
}

// The loop's place in each row of the call.
class Reader {
 public:
  Reader(const Model& model, const Batch& batch, State& state, const ReadOptions& options)
      : memory_(*model.memory), batch_(batch), state_(state), options_(options) {
    const int64_t rows = state.size();
    done_.assign(static_cast<size_t>(rows), 0);
    next_end_.assign(static_cast<size_t>(rows), 0);
    parts_.resize(static_cast<size_t>(rows));
  }

  Reading run() {
    while (step()) {
    }
    return collect();
  }

 private:
  int64_t count(int64_t r) const {
    return batch_.count.empty() ? batch_.ids.size(1) : batch_.count[static_cast<size_t>(r)];
  }
  int64_t left(int64_t r) const { return count(r) - done_[static_cast<size_t>(r)]; }

  // The next explicit end of the row, or the method's own grid.
  int64_t room(int64_t r) const {
    if (!batch_.ends) return memory_.room(state_.rows[static_cast<size_t>(r)]);
    const auto& ends = (*batch_.ends)[static_cast<size_t>(r)];
    const size_t next = next_end_[static_cast<size_t>(r)];
    return next < ends.size() ? ends[next] - done_[static_cast<size_t>(r)] : kUnbounded;
  }

  bool step() {
    Step step{batch_, {}, options_.draws, options_.trace, options_.parallel ? &prepared_ : nullptr};
    step.extra = options_.draws ? &extra_ : nullptr;
    for (int64_t r = 0; r < state_.size(); ++r) {
      const Row& row = state_.rows[static_cast<size_t>(r)];
      const bool last = batch_.finish && left(r) == 0 && row.phase > 0;
      const bool due = batch_.ends && left(r) == 0 && row.phase > 0 && room(r) == 0;
      // An explicit end left more open than the method's own grid allows: it closes before anything is read.
      const bool full = !batch_.ends && left(r) > 0 && row.phase > 0 && room(r) <= 0;
      if (left(r) > 0 && !full) {
        step.spans.push_back({r, done_[static_cast<size_t>(r)], left(r), row.phase == 0, false});
      } else if (last || due || full) {
        step.spans.push_back({r, done_[static_cast<size_t>(r)], 0, false, true});
      }
    }
    if (step.spans.empty()) return false;
    memory_.open(step, state_);
    for (Span& s : step.spans) {
      const int64_t space = room(s.row), rest = left(s.row);
      MNEME_CHECK(space > 0 || s.closes || batch_.ends, "a segment without room");
      s.count = std::clamp<int64_t>(rest, 0, std::max<int64_t>(0, space));
      s.closes = s.closes || s.count == space || (batch_.finish && s.count == rest);
    }
    Tensor hidden = memory_.extend(step, state_);  // [n, T, E]
    advance(step, hidden);
    return true;
  }

  void advance(const Step& step, const Tensor& hidden) {
    aligned_ = aligned_ && static_cast<int64_t>(step.spans.size()) == state_.size();
    for (size_t i = 0; i < step.spans.size(); ++i) {
      const Span& s = step.spans[i];
      aligned_ = aligned_ && s.count == step.spans[0].count;
      Row& row = state_.rows[static_cast<size_t>(s.row)];
      if (s.count > 0)
        parts_[static_cast<size_t>(s.row)].push_back(hidden[static_cast<int64_t>(i)].narrow(0, 0, s.count));
      const std::vector<int64_t> ids = step.ids(s);
      row.position += s.count;
      row.phase += s.count;
      done_[static_cast<size_t>(s.row)] += s.count;
      remember(row, ids);
    }
    if (aligned_ && hidden.size(1) > 0) blocks_.push_back(hidden.narrow(1, 0, step.spans[0].count));
    memory_.close(step, state_);
    for (const Span& s : step.spans) {
      if (!s.closes) continue;
      Row& row = state_.rows[static_cast<size_t>(s.row)];
      row.previous = std::move(row.open);
      row.open.clear();
      row.phase = 0;
      ++row.segment;
      row.hidden.clear();
      const auto r = static_cast<size_t>(s.row);
      if (batch_.ends && next_end_[r] < (*batch_.ends)[r].size() &&
          (*batch_.ends)[r][next_end_[r]] == done_[r])
        ++next_end_[r];
    }
  }

  void remember(Row& row, const std::vector<int64_t>& ids) const {
    const auto most = static_cast<size_t>(memory_.text_kept());
    if (most == 0) return;
    row.open.insert(row.open.end(), ids.begin(), ids.end());
    // Cut seldom, so that reading token by token stays linear.
    if (row.open.size() > 2 * most)
      row.open.erase(row.open.begin(), row.open.end() - static_cast<std::ptrdiff_t>(most));
  }

  Reading collect() const {
    const int64_t rows = state_.size(), most = batch_.ids.size(1);
    // The rows are equally long, but may all end before the batch does.
    if (aligned_ && !blocks_.empty() && count(0) == most)
      return {blocks_.size() == 1 ? blocks_[0] : at::cat(blocks_, 1), {}, extra_};
    Tensor like;
    for (const auto& p : parts_) like = p.empty() ? like : p[0];
    if (!like.defined()) return {};
    std::vector<Tensor> lines;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<Tensor> p = parts_[static_cast<size_t>(r)];
      const int64_t missing = most - count(r);
      if (missing > 0 || p.empty()) p.push_back(at::zeros({missing, like.size(1)}, like.options()));
      lines.push_back(p.size() == 1 ? p[0] : at::cat(p));
    }
    return {at::stack(lines), {}, extra_};
  }

  const Memory& memory_;
  const Batch& batch_;
  State& state_;
  const ReadOptions& options_;
  std::vector<int64_t> done_;
  std::vector<size_t> next_end_;
  std::vector<std::vector<Tensor>> parts_;  // per row, hidden vectors of each step
  std::vector<Tensor> blocks_;              // per step, while all rows go together
  std::vector<Prediction> extra_;
  bool aligned_ = true;
  Prepared prepared_;
};

}  // namespace

std::vector<int64_t> Step::begins(const Span& s, int64_t segment) const {
  const int64_t total = batch.count.empty() ? batch.ids.size(1) : batch.count[static_cast<size_t>(s.row)];
  std::vector<int64_t> out = {s.offset};
  if (batch.ends) {
    for (const int64_t end : (*batch.ends)[static_cast<size_t>(s.row)]) {
      if (end > s.offset && end < total) out.push_back(end);
    }
  } else {
    for (int64_t at = s.offset + segment; at < total; at += segment) out.push_back(at);
  }
  out.push_back(total);
  return out;
}

std::vector<int64_t> Step::ids(const Span& s) const {
  const Tensor line = batch.ids[s.row].narrow(0, s.offset, s.count).contiguous();
  const int64_t* first = line.data_ptr<int64_t>();
  return {first, first + s.count};
}

std::vector<uint8_t> Step::seen(const Span& s) const {
  if (!batch.mask.defined()) return {};
  const Tensor line = batch.mask[s.row].narrow(0, s.offset, s.count).to(at::kByte).contiguous();
  const uint8_t* first = line.data_ptr<uint8_t>();
  return {first, first + s.count};
}

Reading read(const Model& model, const Batch& batch, State& state, const ReadOptions& options) {
  check(model, batch, state);
  State before = state;
  try {
    for (int64_t r = 0; r < state.size(); ++r) {
      if (!batch.reset.empty() && batch.reset[static_cast<size_t>(r)]) {
        state.rows[static_cast<size_t>(r)] = model.initial(1).rows[0];
      }
    }
    if (options.parallel && !options.trace) {
      if (std::optional<Reading> whole = model.memory->extend_segments(batch, state, options.draws))
        return *whole;
    }
    return Reader(model, batch, state, options).run();
  } catch (...) {
    state = std::move(before);
    throw;
  }
}

}  // namespace mneme
