#include "memory/baselines.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

constexpr int64_t kPageSlots = 128;  // the last page of a cache, and the first of a sliding one, are not full

void require_positive(int64_t value, const char* key) {
  if (value <= 0) {
    throw Error(Kind::usage,
                std::string(key) + ": expected a positive number of tokens, found " + std::to_string(value));
  }
}

bool has_past(const Row& row) {
  const auto past = row.caches.find("past");
  return past != row.caches.end() && !past->second.empty();
}

}  // namespace

Segments::Segments(const Decoder& decoder, const SegmentsOptions& options)
    : SegmentMemory(decoder, options.segment) {
  require_positive(options.segment, "segments.segment");
}

// Segments that begin and end inside this call are rows of one batch.
std::optional<Reading> Segments::extend_segments(const Batch& batch, State& state, const Draws* draws) const {
  if (batch.ends || batch.mask.defined() || !batch.count.empty() || draws) return std::nullopt;
  const int64_t rows = batch.ids.size(0), total = batch.ids.size(1), whole = total / segment_;
  bool fresh = whole > 1 && total % segment_ == 0;
  for (const Row& r : state.rows) fresh = fresh && r.phase == 0;
  if (!fresh) return std::nullopt;
  const Tensor ids = batch.ids.contiguous().view({rows * whole, segment_});
  std::vector<RowSlots> slots;
  for (int64_t r = 0; r < rows * whole; ++r) {
    const int64_t* line = ids.data_ptr<int64_t>() + r * segment_;
    RowSlots one;
    one.pieces = {{{}, {line, line + segment_}}};
    one.keep = false;
    slots.push_back(std::move(one));
  }
  Pass pass(decoder_, std::move(slots));
  const Tensor hidden = pass.run();
  for (Row& r : state.rows) {
    r.position += total;
    r.segment += whole;
  }
  return Reading{hidden.reshape({rows, total, hidden.size(2)}), {}};
}

Window::Window(const Decoder& decoder, const WindowOptions& options)
    : SegmentMemory(decoder, kUnbounded), window_(options.window) {
  require_positive(options.window, "window.window");
}

void Window::configure(Pass& pass) const {
  pass.window = pass.window ? std::min(pass.window, window_) : window_;
}

Tensor Window::extend(const Step& step, State& state) const {
  Tensor hidden = SegmentMemory::extend(step, state);
  for (const Span& s : step.spans) {  // the next token sees itself and window - 1 others
    KvCache& cache = state.rows[static_cast<size_t>(s.row)].working;
    cache.drop_front(std::max<int64_t>(0, cache.size() - (window_ - 1)));
  }
  return hidden;
}

int64_t Window::bound() const { return (window_ + 2 * kPageSlots) * slot_bytes() + 1024; }

Sink::Sink(const Decoder& decoder, const SinkOptions& options)
    : SegmentMemory(decoder, kUnbounded), options_(options) {
  require_positive(options.window, "sink.window");
  if (options.sinks < 0) throw Error(Kind::usage, "sink.sinks must not be negative");
}

void Sink::configure(Pass& pass) const { pass.window = options_.window; }

// The sinks are read in a pass of their own, so that a later pass finds all of them in their cache.
Tensor Sink::extend(const Step& step, State& state) const {
  Step first{step.batch, {}, step.draws, step.trace}, rest{step.batch, {}, step.draws, step.trace};
  std::vector<std::pair<int64_t, int64_t>>
      place;  // of each span: its line in the first and in the second pass
  for (const Span& s : step.spans) {
    const int64_t n =
        std::clamp<int64_t>(options_.sinks - state.rows[static_cast<size_t>(s.row)].position, 0, s.count);
    place.emplace_back(n > 0 ? static_cast<int64_t>(first.spans.size()) : -1,
                       s.count > n ? static_cast<int64_t>(rest.spans.size()) : -1);
    if (n > 0) first.spans.push_back({s.row, s.offset, n, s.opens, false});
    if (s.count > n) rest.spans.push_back({s.row, s.offset + n, s.count - n, s.opens && n == 0, false});
  }
  Tensor head, tail;
  if (!first.spans.empty()) {
    head = SegmentMemory::extend(first, state);
    for (const Span& s : first.spans) {
      Row& row = state.rows[static_cast<size_t>(s.row)];
      auto [sinks, fresh] = row.caches.try_emplace("sinks", std::max<int64_t>(1, options_.sinks));
      sinks->second.join(row.working);
      row.working.clear();
      row.position += s.count;  // for the second pass; read() counts these tokens itself
    }
  }
  if (!rest.spans.empty()) tail = SegmentMemory::extend(rest, state);
  for (const Span& s : first.spans) state.rows[static_cast<size_t>(s.row)].position -= s.count;
  for (const Span& s : rest.spans) {
    KvCache& cache = state.rows[static_cast<size_t>(s.row)].working;
    cache.drop_front(std::max<int64_t>(0, cache.size() - (options_.window - 1)));
  }
  if (first.spans.empty() && rest.spans.empty())
    return SegmentMemory::extend(step, state);  // nothing but an end
  if (rest.spans.empty()) return head;
  if (first.spans.empty()) return tail;
  int64_t most = 0;
  for (const Span& s : step.spans) most = std::max(most, s.count);
  std::vector<Tensor> lines;
  for (size_t i = 0; i < step.spans.size(); ++i) {
    const auto [h, t] = place[i];
    const int64_t n = h < 0 ? 0 : first.spans[static_cast<size_t>(h)].count, m = step.spans[i].count - n;
    std::vector<Tensor> parts;
    if (h >= 0) parts.push_back(head[h].narrow(0, 0, n));
    if (t >= 0) parts.push_back(tail[t].narrow(0, 0, m));
    const Tensor& like = head;
    if (n + m < most) parts.push_back(at::zeros({most - n - m, like.size(2)}, like.options()));
    lines.push_back(at::cat(parts));
  }
  return at::stack(lines);
}

Tensor Sink::attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q,
                    const Tensor& k, const Tensor& v) const {
  std::vector<const KvCache*> sinks;
  bool any = false;
  for (Row* r : rows) {
    const auto found = r->caches.find("sinks");
    sinks.push_back(found == r->caches.end() ? nullptr : &found->second);
    any = any || sinks.back();
  }
  if (!any) return pass.attend_joint(layer, q, k, v);
  Keys keys = cache_source(sinks, layer);
  keys.sight = Sight::all;
  if (decoder_.config().position == PositionKind::rotary) {
    // A query stands behind what is kept: at most sinks + window places after the first sink.
    const Tensor capped = pass.positions().clamp_max(options_.sinks + options_.window - 1);
    keys.q = rotate(q, capped, decoder_.rotary());
  }
  if (decoder_.alibi_slopes().defined()) {
    keys.sight = Sight::causal;
    keys.slopes = decoder_.alibi_slopes();
    for (Row* r : rows) keys.start.push_back(r->position);
  }
  return pass.attend_joint(layer, q, k, v, {keys});
}

int64_t Sink::bound() const {
  return (options_.window + options_.sinks * 2 + 3 * kPageSlots) * slot_bytes() + 1024;
}

Xl::Xl(const Decoder& decoder, const XlOptions& options)
    : SegmentMemory(decoder, options.segment), options_(options) {
  require_positive(options.segment, "xl.segment");
  if (options.cache < 0) throw Error(Kind::usage, "xl.cache must not be negative");
}

// Rotary and ALiBi positions run through the text; a table of learned positions starts anew in each segment.
int64_t Xl::slot_position(const Row& row) const {
  return decoder_.config().position == PositionKind::learned || options_.cache == 0 ? row.phase
                                                                                    : row.position;
}

Tensor Xl::attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q, const Tensor& k,
                  const Tensor& v) const {
  std::vector<const KvCache*> past;
  bool any = false;
  for (Row* r : rows) {
    past.push_back(has_past(*r) ? &r->caches.at("past") : nullptr);
    any = any || past.back();
  }
  if (!any) return pass.attend_joint(layer, q, k, v);
  Keys keys = cache_source(past, layer);
  keys.slopes = decoder_.alibi_slopes();
  for (size_t r = 0; r < rows.size(); ++r) keys.start.push_back(keys.length[r] + rows[r]->phase);
  return pass.attend_joint(layer, q, k, v, {keys});
}

void Xl::close(const Step& step, State& state) const {
  for (const Span& s : step.spans) {
    if (!s.closes) continue;
    Row& row = state.rows[static_cast<size_t>(s.row)];
    if (options_.cache > 0) {
      KvCache& past = row.caches.try_emplace("past", kPageSlots).first->second;
      past.join(row.working.detached());
      past.drop_front(std::max<int64_t>(0, past.size() - options_.cache));
    }
    row.working.clear();
  }
}

int64_t Xl::bound() const {
  // Every joined segment may end in a page that is not full.
  const int64_t segments = options_.cache / segment_ + 2;
  return (segment_ + options_.cache + (segments + 2) * kPageSlots) * slot_bytes() + 1024;
}

}  // namespace mneme
