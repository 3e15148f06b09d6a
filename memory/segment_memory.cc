#include "memory/segment_memory.h"

#include "base/error.h"

namespace mneme {
namespace {

int64_t total(const std::vector<Piece>& pieces) {
  int64_t n = 0;
  for (const Piece& p : pieces) n += p.size();
  return n;
}

// The text's part of each row's hidden vectors, [n, Tmax, E].
Tensor text_part(const Tensor& hidden, const std::vector<int64_t>& first, const std::vector<Span>& spans) {
  int64_t most = 0;
  bool same = true;
  for (size_t i = 0; i < spans.size(); ++i) {
    most = std::max(most, spans[i].count);
    same = same && spans[i].count == spans[0].count && first[i] == first[0];
  }
  if (same) return hidden.narrow(1, first[0], most);
  std::vector<Tensor> lines;
  for (size_t i = 0; i < spans.size(); ++i) {
    const Tensor line = hidden[static_cast<int64_t>(i)].narrow(0, first[i], spans[i].count);
    const int64_t missing = most - spans[i].count;
    lines.push_back(missing ? at::cat({line, at::zeros({missing, line.size(1)}, line.options())}) : line);
  }
  return at::stack(lines);
}

}  // namespace

Tensor SegmentMemory::extend(const Step& step, State& state) const {
  std::vector<RowSlots> slots;
  std::vector<Row*> rows;
  std::vector<int64_t> first, tail;
  for (const Span& s : step.spans) {
    Row& row = state.rows[static_cast<size_t>(s.row)];
    RowSlots r;
    if (s.opens) r.pieces = before(row);
    first.push_back(total(r.pieces));
    if (s.count > 0) r.pieces.push_back({{}, step.ids(s)});
    std::vector<Piece> end = s.closes ? after(row) : std::vector<Piece>{};
    tail.push_back(total(end));
    for (Piece& p : end) r.pieces.push_back(std::move(p));
    if (step.batch.mask.defined()) {  // memory slots are never padding
      r.seen.assign(static_cast<size_t>(first.back()), 1);
      for (uint8_t seen : step.seen(s)) r.seen.push_back(seen);
      r.seen.resize(r.seen.size() + static_cast<size_t>(tail.back()), 1);
    }
    r.count_seen = step.batch.count_seen;
    r.hidden = &row.hidden;
    r.cache = &row.working;
    r.keep = !s.closes || keeps_closing_slots();
    r.position = slot_position(row);
    r.text = s.row;
    r.segment = row.segment;
    slots.push_back(std::move(r));
    rows.push_back(&row);
  }
  Pass pass(decoder_, std::move(slots), step.draws);
  configure(pass);
  if (pass.slots() == 0)
    return at::empty({static_cast<int64_t>(step.spans.size()), 0, decoder_.config().embed_width});
  const Tensor hidden = pass.run([&](int64_t l, const Tensor& q, const Tensor& k, const Tensor& v) {
    return attend(pass, rows, l, q, k, v);
  });
  for (size_t i = 0; i < step.spans.size(); ++i) {
    if (tail[i] == 0) continue;
    const Span& s = step.spans[i];
    written(state.rows[static_cast<size_t>(s.row)],
            hidden[static_cast<int64_t>(i)].narrow(0, first[i] + s.count, tail[i]));
  }
  if (step.trace && step.trace->slots) {
    std::vector<int64_t> which;
    for (const Span& s : step.spans) which.push_back(s.row);
    step.trace->put("slots", which, state.rows[static_cast<size_t>(which[0])].segment, hidden);
  }
  return text_part(hidden, first, step.spans);
}

Tensor SegmentMemory::attend(Pass& pass, const std::vector<Row*>&, int64_t layer, const Tensor& q,
                             const Tensor& k, const Tensor& v) const {
  return pass.attend_joint(layer, q, k, v);
}

void SegmentMemory::close(const Step& step, State& state) const {
  for (const Span& s : step.spans) {
    if (s.closes) state.rows[static_cast<size_t>(s.row)].working.clear();
  }
}

int64_t SegmentMemory::slot_bytes() const {
  const ModelConfig& c = decoder_.config();
  return 2 * c.layers * c.kv_heads * c.head_width * static_cast<int64_t>(at::elementSize(decoder_.dtype()));
}

int64_t SegmentMemory::bound() const {
  constexpr int64_t kPage = 128;  // the last page is not full
  return (segment_ + kPage) * slot_bytes() + 1024;
}

}  // namespace mneme
