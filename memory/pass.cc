#include "memory/pass.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {

int64_t RowSlots::size() const {
  int64_t n = 0;
  for (const Piece& p : pieces) n += p.size();
  return n;
}

Pass::Pass(const Decoder& decoder, std::vector<RowSlots> rows, const Draws* draws)
    : window(decoder.config().window), decoder_(decoder), rows_(std::move(rows)) {
  for (const RowSlots& r : rows_) {
    counts_.push_back(r.size());
    slots_ = std::max(slots_, counts_.back());
    cached_ = cached_ || (r.cache && !r.cache->empty());
    masked_ = masked_ || !r.seen.empty() || (r.hidden && !r.hidden->empty());
    contiguous_ = contiguous_ && r.positions.empty();
  }
  for (int64_t c : counts_) ragged_ = ragged_ || c != slots_;
  place();
  if (draws) draw_from(*draws);
}

void Pass::draw_from(const Draws& draws) {
  constexpr uint32_t kAside = uint32_t{1} << 31;
  draws_ = draws;
  draws_->rows.clear();
  for (int64_t r = 0; r < rows(); ++r) {
    const RowSlots& slots = row(r);
    Site site = draws.site;
    site.row += static_cast<uint64_t>(slots.text < 0 ? r : slots.text);
    site.segment = static_cast<uint32_t>(slots.segment) | (slots.aside ? kAside : 0);
    site.position = static_cast<uint64_t>(std::max<int64_t>(0, slots.position));
    draws_->rows.push_back(site);
  }
}

void Pass::place() {
  const ModelConfig& c = decoder_.config();
  const auto counts_seen = [&](const RowSlots& row) {
    return masked_ && (c.position_counts_mask || row.count_seen);
  };
  for (const RowSlots& row : rows_) contiguous_ = contiguous_ && !counts_seen(row);
  const int64_t unseen = c.position_counts_mask ? -1 : 1;  // where the originals put what nobody sees
  std::vector<int64_t> flat(static_cast<size_t>(rows() * slots_), 0);
  int64_t last = 0;
  for (int64_t r = 0; r < rows(); ++r) {
    const RowSlots& row = rows_[static_cast<size_t>(r)];
    const bool counting = counts_seen(row);
    int64_t next = row.position;
    if (counting && row.hidden) next -= std::count(row.hidden->begin(), row.hidden->end(), 1);
    starts_.push_back(next);
    for (int64_t t = 0; t < counts_[static_cast<size_t>(r)]; ++t) {
      const auto at = static_cast<size_t>(t);
      const bool seen = row.seen.empty() || row.seen[at] != 0;
      int64_t p = row.positions.empty() ? next : row.positions[at];
      if (counting && !seen) p = unseen;
      if (!counting || seen) ++next;
      flat[static_cast<size_t>(r * slots_ + t)] = p;
      last = std::max(last, p);
    }
  }
  if (c.position == PositionKind::learned && last >= c.max_positions) {
    throw Error(Kind::input,
                "the text reaches position " + std::to_string(last) +
                    ", but the model's position table ends at " + std::to_string(c.max_positions - 1),
                "read shorter segments, or use a memory method whose segments fit (--memory.method rmt, hmt, "
                "segments)");
  }
  positions_ = at::tensor(flat, at::kLong).view({rows(), slots_});
  if (c.position != PositionKind::rotary || slots_ == 0) return;
  const at::TensorOptions like = at::device(decoder_.device()).dtype(decoder_.dtype());
  rotation_ = contiguous_ ? decoder_.rotary().run(starts_, slots_, like, last + 1)
                          : decoder_.rotary().at(positions_, like, last + 1);
}

Tensor Pass::embedded() const {
  const int64_t width = decoder_.config().embed_width;
  // Decoding and plain prompts: one piece of ids in every row.
  bool plain = !ragged_;
  for (const RowSlots& r : rows_) plain = plain && r.pieces.size() == 1 && !r.pieces[0].vectors.defined();
  if (plain) {
    Tensor ids = at::empty({rows(), slots_}, at::kLong);
    for (int64_t r = 0; r < rows(); ++r) {
      std::copy_n(row(r).pieces[0].ids.begin(), slots_, ids.data_ptr<int64_t>() + r * slots_);
    }
    return decoder_.embed(ids);
  }
  // All tokens of all rows are looked up at once, then cut apart and put between the vectors.
  std::vector<int64_t> ids;
  for (const RowSlots& r : rows_) {
    for (const Piece& p : r.pieces) ids.insert(ids.end(), p.ids.begin(), p.ids.end());
  }
  const Tensor tokens = decoder_.embed(at::tensor(ids, at::kLong));
  std::vector<Tensor> lines;
  int64_t next = 0;
  for (int64_t r = 0; r < rows(); ++r) {
    std::vector<Tensor> parts;
    for (const Piece& p : row(r).pieces) {
      if (p.size() == 0) continue;
      parts.push_back(p.vectors.defined() ? p.vectors.to(tokens.scalar_type())
                                          : tokens.narrow(0, next, p.size()));
      if (!p.vectors.defined()) next += p.size();
    }
    const int64_t missing = slots_ - counts_[static_cast<size_t>(r)];
    if (missing > 0) parts.push_back(at::zeros({missing, width}, tokens.options()));
    lines.push_back(parts.size() == 1 ? parts[0] : at::cat(parts));
  }
  return at::stack(lines);
}

Tensor Pass::run(const Attend& attend) {
  const ModelConfig& c = decoder_.config();
  MNEME_CHECK(slots_ > 0, "a pass without slots");
  const Tensor x = embedded();
  const KvCache::Shape shape{c.layers, c.kv_heads, c.head_width, x.options()};
  for (int64_t r = 0; r < rows(); ++r) {
    const RowSlots& slots = row(r);
    if (slots.cache && slots.keep) slots.cache->reserve(counts_[static_cast<size_t>(r)], shape);
  }
  Tensor hidden = decoder_.run(x, positions_, attend, draws_ ? &*draws_ : nullptr);
  commit();
  return hidden;
}

void Pass::commit() {
  for (int64_t r = 0; r < rows(); ++r) {
    const RowSlots& slots = row(r);
    if (!slots.cache || !slots.keep) continue;
    if (slots.hidden && masked_) {
      slots.hidden->resize(static_cast<size_t>(slots.cache->size()), 0);
      for (int64_t t = 0; t < counts_[static_cast<size_t>(r)]; ++t) {
        slots.hidden->push_back(slots.seen.empty() || slots.seen[static_cast<size_t>(t)] ? 0 : 1);
      }
    }
    slots.cache->commit();
  }
}

Tensor Pass::rotated(const Tensor& x) const {
  return decoder_.config().position == PositionKind::rotary ? rotate(x, rotation_) : x;
}

AttentionOptions Pass::attention_options(int64_t layer) const {
  AttentionOptions options;
  if (draws_ && draws_->dropout.attention > 0) {
    options.dropout = draws_->dropout.attention;
    options.site = draws_->rows.front();  // row b of the pass draws at this row + b
    options.site.draw = Draw::dropout_attention;
    options.site.layer = static_cast<uint16_t>(layer);
  }
  if (ragged_) options.query_count = counts_;
  return options;
}

Keys Pass::new_keys(const Tensor& k, const Tensor& v) const {
  Keys keys;
  keys.k = k;
  keys.v = v;
  keys.start.assign(counts_.size(), 0);
  if (ragged_) keys.length = counts_;
  keys.window = window;
  keys.slopes = decoder_.alibi_slopes();
  if (masked_) {
    Tensor seen = at::ones({rows(), 1, slots_}, at::kBool);
    for (int64_t r = 0; r < rows(); ++r) {
      bool* line = seen.data_ptr<bool>() + r * slots_;
      for (size_t t = 0; t < row(r).seen.size(); ++t) line[t] = row(r).seen[t] != 0;
    }
    keys.mask = seen.to(k.device());
  }
  return keys;
}

std::vector<Keys> Pass::cached_keys(int64_t layer) const {
  if (!cached_) return {};
  std::vector<const KvCache*> caches;
  for (const RowSlots& r : rows_) caches.push_back(r.cache);
  Keys keys = cache_source(caches, layer);
  keys.start = keys.length;  // the first new slot stands right behind the row's cache
  keys.window = window;
  keys.slopes = decoder_.alibi_slopes();
  if (masked_) {
    const int64_t most = *std::max_element(keys.length.begin(), keys.length.end());
    Tensor seen = at::ones({rows(), 1, most}, at::kBool);
    for (int64_t r = 0; r < rows(); ++r) {
      if (!row(r).hidden) continue;
      bool* line = seen.data_ptr<bool>() + r * most;
      for (size_t s = 0; s < row(r).hidden->size(); ++s) line[s] = (*row(r).hidden)[s] == 0;
    }
    keys.mask = seen.to(decoder_.device());
  }
  return {keys};
}

void Pass::store(int64_t layer, const Tensor& k, const Tensor& v) {
  for (int64_t r = 0; r < rows(); ++r) {
    const RowSlots& slots = row(r);
    if (!slots.cache || !slots.keep) continue;
    const int64_t n = counts_[static_cast<size_t>(r)];
    slots.cache->write(layer, k[r].narrow(0, 0, n), v[r].narrow(0, 0, n));
  }
}

Tensor Pass::attend_joint(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                          std::vector<Keys> before, Tensor* lse) {
  const Tensor turned_q = rotated(q), turned_k = rotated(k);
  store(layer, turned_k, v);
  for (Keys& keys : cached_keys(layer)) before.push_back(std::move(keys));
  before.push_back(new_keys(turned_k, v));
  return attention(turned_q, before, attention_options(layer), lse);
}

Keys cache_source(const std::vector<const KvCache*>& caches, int64_t layer) {
  Keys keys;
  bool graph = false;
  int64_t most = 0;
  for (const KvCache* c : caches) {
    keys.length.push_back(c ? c->size() : 0);
    most = std::max(most, keys.length.back());
    graph = graph || (c && c->requires_grad());
  }
  if (!graph) {
    for (const KvCache* c : caches) keys.pages.push_back(c ? c->pages(layer) : std::vector<KeyPage>{});
    return keys;
  }
  std::vector<Tensor> ks, vs;
  for (const KvCache* c : caches) {
    Tensor k, v;
    if (c && !c->empty()) std::tie(k, v) = c->dense(layer);
    ks.push_back(k);
    vs.push_back(v);
  }
  Tensor like;
  for (const Tensor& k : ks) like = k.defined() ? k : like;
  for (std::vector<Tensor>* lines : {&ks, &vs}) {
    for (Tensor& t : *lines) {
      if (!t.defined()) t = at::zeros({0, like.size(1), like.size(2)}, like.options());
      const int64_t missing = most - t.size(0);
      if (missing > 0) t = at::cat({t, at::zeros({missing, like.size(1), like.size(2)}, like.options())});
    }
  }
  keys.k = at::stack(ks);
  keys.v = at::stack(vs);
  return keys;
}

}  // namespace mneme
