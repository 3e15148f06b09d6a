#include "memory/landmark.h"

#include <algorithm>

#include "base/error.h"
#include "memory/initial_vectors.h"
#include "memory/landmark_attend.h"

namespace mneme {
namespace {

void check_options(const LandmarkMemoryOptions& o, const ModelConfig& c) {
  if (o.segment <= 0 || o.block < 0 || o.retrieve < 0 || o.blocks < 0 || o.jump < 0 || o.resident < 0) {
    throw Error(Kind::usage,
                "landmark: expected a positive segment, and block, retrieve, blocks, jump and resident of at "
                "least 0");
  }
  if (o.id < -1 || o.id >= c.vocab) {
    throw Error(Kind::usage,
                "landmark.id is " + std::to_string(o.id) + ", but the vocabulary has " +
                    std::to_string(c.vocab) + " tokens",
                "enlarge vocab_size, or use -1 for a vector beside the vocabulary");
  }
  const auto share = [](double p) { return p >= 0 && p <= 1; };
  if (!share(o.miss_controlled) || !share(o.miss_cutoff) || !(o.group_dropout >= 0 && o.group_dropout < 1)) {
    throw Error(Kind::usage, "landmark: miss_controlled, miss_cutoff and group_dropout lie between 0 and 1");
  }
  if (o.landmark_loss && o.landmark_predicts && o.id < 0) {
    throw Error(Kind::usage, "landmark.landmark_loss: nothing can predict a landmark outside the vocabulary",
                "give landmark.id, or set landmark.landmark_predicts to false");
  }
  if (!o.miss && (o.miss_controlled > 0 || o.miss_cutoff > 0)) {
    throw Error(Kind::usage, "landmark.miss_controlled and miss_cutoff need landmark.miss");
  }
  if (o.softmax != "grouped" && (o.retrieve > 0 || o.miss)) {
    throw Error(Kind::usage, "landmark.softmax " + o.softmax + " reads no kept blocks",
                "set landmark.retrieve to 0 and landmark.miss to false");
  }
  if (o.block == 0) return;
  if (c.position == PositionKind::alibi || c.window > 0) {
    throw Error(Kind::usage, "landmark: models with ALiBi or a sliding window are not supported",
                "use a model with rotary or learned positions");
  }
  if (c.position == PositionKind::rotary && c.rotary.scaling == RotaryScaling::dynamic) {
    throw Error(Kind::usage, "landmark: kept keys need frequencies that do not change with the text's length",
                "use rope_scaling of the type linear or llama3, or none");
  }
}

// Tokens of one row as pieces, with a landmark behind each full block.
class Builder {
 public:
  Builder(RowSlots& row, int64_t at, const Tensor& landmark, int64_t id)
      : row_(row), first_(at), at_(at), landmark_(landmark), id_(id) {}
  int64_t at() const { return at_; }
  int64_t count() const { return at_ - first_; }

  void vector(const Tensor& x) {
    row_.pieces.push_back({x, {}});
    ++at_;
  }
  void token(int64_t id) {
    if (row_.pieces.empty() || row_.pieces.back().vectors.defined()) row_.pieces.emplace_back();
    row_.pieces.back().ids.push_back(id);
    ++at_;
  }
  void landmark() {
    if (id_ >= 0) {
      token(id_);
    } else {
      vector(landmark_);
    }
  }

 private:
  RowSlots& row_;
  int64_t first_, at_;
  const Tensor& landmark_;
  int64_t id_;
};

// Tokens of a pass's slots, -1 where a slot has none. [n, T]
Tensor ids_of(const Pass& pass) {
  const Tensor out = at::full({pass.rows(), pass.slots()}, -1, at::kLong);
  for (int64_t r = 0; r < pass.rows(); ++r) {
    int64_t* to = out.data_ptr<int64_t>() + r * pass.slots();
    for (const Piece& p : pass.row(r).pieces) {
      std::copy(p.ids.begin(), p.ids.end(), to);
      to += p.size();
    }
  }
  return out;
}

}  // namespace

Landmark::Landmark(const Decoder& decoder, const LandmarkMemoryOptions& options)
    : decoder_(decoder), options_(options) {
  check_options(options, decoder.config());
}

int64_t Landmark::window_slots() const {
  if (options_.block == 0) return options_.segment;
  const int64_t open = options_.block, text = options_.segment;
  return (options_.miss ? 1 : 0) + open + text + (open + text) / options_.block;
}

void Landmark::initial(Row& row) const {
  // One page holds a window of the method's own grid, so that it is dense as it lies.
  if (options_.block > 0) row.working = KvCache(std::min<int64_t>(window_slots(), 4096));
}

void Landmark::open(const Step& step, State& state) const {
  if (options_.block == 0) return;
  const std::shared_ptr<PageFile> file = page_file();
  for (const Span& s : step.spans) {
    Row& row = state.rows[static_cast<size_t>(s.row)];
    if (s.opens && keep_closed_blocks(decoder_, options_, row, file.get()) && file)
      file->forget(options_.resident);
  }
}

std::shared_ptr<PageFile> Landmark::page_file() const {
  if (options_.resident == 0) return nullptr;
  if (!decoder_.device().is_cpu()) {
    throw Error(Kind::usage, "landmark.resident needs the keys and values in the processor's memory",
                "use --device cpu, or landmark.resident 0");
  }
  const std::lock_guard<std::mutex> lock(file_lock_);
  if (!file_) file_ = PageFile::create(options_.spill, block_bytes(decoder_, options_));
  return file_;
}

std::vector<int64_t> Landmark::unspoken() const {
  if (options_.block == 0 || options_.id < 0) return {};
  return {options_.id};
}

int64_t Landmark::gap(const Draws& draws, int64_t row, int64_t slot) const {
  if (options_.jump <= 1) return 0;
  Site site = draws.site;
  site.row += static_cast<uint64_t>(row);
  site.layer = 0xffff;
  site.draw = Draw::landmark;
  site.position = static_cast<uint64_t>(slot);
  return static_cast<int64_t>(Random(site).below(static_cast<uint64_t>(options_.jump)));
}

// Which new slots of a row predict something.
struct Landmark::Predicting {
  std::vector<int64_t> text;         // what follows each token of the span
  std::vector<int64_t> slot, token;  // beside them, at landmarks: a slot, and the token of the span before it
};

RowSlots Landmark::slots_of(const Step& step, const Span& span, Row& row, Predicting& from) const {
  std::vector<int64_t>& text = from.text;
  RowSlots out;
  out.text = span.row;
  out.segment = row.segment;
  out.cache = &row.working;
  out.hidden = &row.hidden;
  if (options_.block == 0) {
    out.position = row.working.size();
    out.keep = !span.closes;
    if (span.count > 0) out.pieces.push_back({{}, step.ids(span)});
    out.seen = step.seen(span);
    for (int64_t t = 0; t < span.count; ++t) text.push_back(t);
    return out;
  }
  const LandmarkSlots slots(options_, row);
  const int64_t before = row.working.size(), lead = slots.lead(), last = slots.width() - 1;
  Builder build(out, before, landmark_, options_.id);
  out.position = slots.base() + std::max<int64_t>(0, before - lead);
  const bool missing = lead > 0 && before == 0 && span.count > 0, gaps = step.draws && options_.jump > 1;
  const std::vector<uint8_t> seen = step.seen(span);
  int64_t position = out.position;
  const auto put = [&](bool landmark, int64_t id, bool visible) {
    landmark ? build.landmark() : build.token(id);
    if (!seen.empty()) out.seen.push_back(visible ? 1 : 0);
    if (missing || gaps) out.positions.push_back(position);
    ++position;
    if (landmark && gaps) position += gap(*step.draws, span.row, build.count() - 1 - (missing ? 1 : 0));
  };
  if (missing) {
    build.vector(miss_);
    out.positions.push_back(decoder_.config().position == PositionKind::learned ? 0 : -1);
    if (!seen.empty()) out.seen.push_back(1);
  }
  const std::vector<int64_t> ids = step.ids(span);
  if (span.count > 0 && slots.is_landmark(build.at())) put(true, 0, true);
  for (size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] == options_.id) {
      throw Error(Kind::input, "the text holds token " + std::to_string(options_.id) + ", the landmark's",
                  "landmarks are put in by the model; leave them out of the text");
    }
    const bool visible = seen.empty() || seen[t] != 0;
    put(false, ids[t], visible);
    text.push_back(build.count() - 1);
    if (slots.place(build.at()) != last) continue;
    put(true, 0, visible);
    const int64_t mark = build.count() - 1;
    if (options_.landmark_loss) {
      from.slot.push_back(options_.landmark_predicts ? mark - 1 : mark);
      from.token.push_back(static_cast<int64_t>(t));
    }
    if (options_.landmark_predicts) text.back() = mark;
  }
  return out;
}

Tensor Landmark::extend(const Step& step, State& state) const {
  std::vector<RowSlots> slots;
  std::vector<const Row*> rows;
  std::vector<Predicting> from;
  int64_t most = 0;
  for (const Span& s : step.spans) {
    Row& row = state.rows[static_cast<size_t>(s.row)];
    slots.push_back(slots_of(step, s, row, from.emplace_back()));
    if (row.numbers.count("trained")) slots.back().keep = false;
    rows.push_back(&row);
    most = std::max(most, s.count);
  }
  Pass pass(decoder_, std::move(slots), step.draws);
  const auto n = static_cast<int64_t>(rows.size());
  if (pass.slots() == 0) return at::empty({n, 0, decoder_.config().embed_width});
  if (options_.block == 0) return pass.run().narrow(1, 0, most);
  const std::shared_ptr<PageFile> file = page_file();
  LandmarkAttend attend(pass, rows, options_, step, file.get());
  const Tensor hidden = pass.run(
      [&](int64_t l, const Tensor& q, const Tensor& k, const Tensor& v) { return attend(l, q, k, v); });
  if (step.trace && step.trace->slots) {
    std::vector<int64_t> which;
    for (const Span& s : step.spans) which.push_back(s.row);
    step.trace->put("slots", which, rows[0]->segment, hidden);
    step.trace->put("slot_ids", which, rows[0]->segment, ids_of(pass));
    step.trace->put("positions", which, rows[0]->segment, pass.positions());
  }
  if (step.extra) put_extra(step, from, hidden);
  std::vector<int64_t> index;
  for (int64_t r = 0; r < n; ++r) {
    std::vector<int64_t>& line = from[static_cast<size_t>(r)].text;
    line.resize(static_cast<size_t>(most), 0);
    for (int64_t slot : line) index.push_back(r * pass.slots() + slot);
  }
  const Tensor which = at::tensor(index, at::kLong).to(hidden.device());
  return hidden.reshape({n * pass.slots(), hidden.size(2)})
      .index_select(0, which)
      .view({n, most, hidden.size(2)});
}

// hidden [n, slots, E]
void Landmark::put_extra(const Step& step, const std::vector<Predicting>& from, const Tensor& hidden) const {
  Prediction out;
  std::vector<int64_t> index;
  for (size_t i = 0; i < from.size(); ++i) {
    const Span& span = step.spans[i];
    for (size_t n = 0; n < from[i].slot.size(); ++n) {
      index.push_back(static_cast<int64_t>(i) * hidden.size(1) + from[i].slot[n]);
      out.row.push_back(span.row);
      out.at.push_back(span.offset + from[i].token[n]);
    }
  }
  if (index.empty()) return;
  if (options_.landmark_predicts) out.token = options_.id;
  out.hidden =
      hidden.reshape({-1, hidden.size(2)}).index_select(0, at::tensor(index, at::kLong).to(hidden.device()));
  step.extra->push_back(std::move(out));
}

int64_t Landmark::missing(const Draws& draws, int64_t row) const {
  if (!options_.random_phase) return 0;
  Site site = draws.site;
  site.row += static_cast<uint64_t>(row);
  site.draw = Draw::landmark;
  return static_cast<int64_t>(Random(site).below(static_cast<uint64_t>(options_.block)));
}

int64_t Landmark::extra_labels(const Tensor& labels, const std::vector<int64_t>& count,
                               const Draws* draws) const {
  if (!draws || !options_.landmark_loss || options_.block == 0) return 0;
  // With an empty row read() goes window by window, from the begin of a block: extend_segments() refuses.
  const bool phased = std::find(count.begin(), count.end(), 0) == count.end();
  int64_t out = 0;
  for (int64_t r = 0; r < labels.size(0); ++r) {
    const int64_t length = count.empty() ? labels.size(1) : count[static_cast<size_t>(r)];
    const Tensor line = labels[r].narrow(0, 0, length);
    // The first token with a landmark behind it.
    const int64_t first = options_.block - 1 - (phased ? missing(*draws, r) : 0);
    if (first >= length) continue;
    out += (line.slice(0, first, length, options_.block) >= 0).sum().item<int64_t>();
  }
  return out;
}

void Landmark::close(const Step& step, State& state) const {
  if (options_.block > 0) return;  // blocks leave the window when the next one opens
  for (const Span& s : step.spans) {
    if (s.closes) state.rows[static_cast<size_t>(s.row)].working.clear();
  }
}

std::optional<Reading> Landmark::extend_segments(const Batch& batch, State& state, const Draws* draws) const {
  if (!draws || options_.block == 0 || batch.ends || batch.ids.size(1) == 0) return std::nullopt;
  if (std::find(batch.count.begin(), batch.count.end(), 0) != batch.count.end()) return std::nullopt;
  std::vector<Prediction> extra;
  Step step{batch, {}, draws};
  step.extra = &extra;
  for (int64_t r = 0; r < state.size(); ++r) {
    Row& row = state.rows[static_cast<size_t>(r)];
    const int64_t count = batch.count.empty() ? batch.ids.size(1) : batch.count[static_cast<size_t>(r)];
    if (row.position > 0) {
      throw Error(Kind::usage, "landmark: training reads a text in one call, as one window",
                  "give the whole text at once");
    }
    row.numbers["trained"] = 1;
    if (options_.random_phase) row.numbers["missing"] = missing(*draws, r);
    step.spans.push_back({r, 0, count, true, true});
  }
  Tensor hidden = extend(step, state);
  for (const Span& s : step.spans) {
    Row& row = state.rows[static_cast<size_t>(s.row)];
    row.position += s.count;
    ++row.segment;
    row.hidden.clear();
    if (s.count == hidden.size(1)) continue;
    const Tensor used = (at::arange(hidden.size(1)) < s.count).to(hidden.options()).unsqueeze(1);
    hidden = at::where(at::arange(state.size()).to(hidden.device()).view({-1, 1, 1}) == s.row, hidden * used,
                       hidden);
  }
  return Reading{hidden, {}, std::move(extra)};
}

std::vector<Breach> Landmark::breaches() const {
  if (options_.select != "max_over_tokens" || options_.retrieve == 0 || options_.block == 0) return {};
  return {{"causality", "blocks are chosen by all tokens of a call together"},
          {"split", "the choice depends on how many tokens a call holds"}};
}

int64_t Landmark::bound() const {
  const ModelConfig& c = decoder_.config();
  const int64_t slot =
      2 * c.layers * c.kv_heads * c.head_width * static_cast<int64_t>(at::elementSize(decoder_.dtype()));
  constexpr int64_t kPage = 128;
  if (options_.block == 0) return (options_.segment + kPage) * slot + 1024;
  if (options_.blocks == 0) return -1;
  const int64_t landmarks = (options_.blocks + kLandmarkPart) * slot / 2;  // the oldest part may be half used
  return (options_.blocks * (options_.block + 1) + 2 * window_slots()) * slot + landmarks + 1024;
}

std::vector<Parameter> Landmark::parameters() {
  const int64_t e = decoder_.config().embed_width;
  std::vector<Parameter> out;
  if (options_.block == 0) return out;
  if (options_.id < 0) out.push_back({"landmark.embedding", nullptr, &landmark_, {1, e}, false});
  if (options_.miss) out.push_back({"rem_token_embedding.weight", nullptr, &miss_, {1, e}, false});
  return out;
}

void Landmark::initialise(uint64_t seed) {
  landmark_ = initial_vectors(decoder_, 1, seed, 2);
  miss_ = initial_vectors(decoder_, 1, seed, 3);
}

void Landmark::to(at::Device device, at::ScalarType type) {
  for (const Parameter& p : parameters()) p.set(p.value().detach().to(device, type));
}

}  // namespace mneme
