#include "memory/hmt.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "memory/initial_vectors.h"

namespace mneme {
namespace {

constexpr int64_t kSlotsAhead =
    2048;  // of a pass over the summaries of coming segments: enough to fill matrices
constexpr int64_t kNear =
    3;  // recalled from fewer segments back than this: read on (the original's constant)

// torch's Linear: uniform within 1 / sqrt(in).
Tensor linear_init(int64_t out, int64_t in, uint64_t seed, uint64_t index) {
  Tensor w = at::empty({out, in}, at::kFloat);
  Site site;
  site.seed = seed;
  site.row = index;
  site.layer = 0xfffe;
  site.draw = Draw::init;
  fill_uniform(site, w.data_ptr<float>(), static_cast<size_t>(w.numel()));
  return (w * 2 - 1) / std::sqrt(static_cast<double>(in));
}

std::vector<int64_t> last(const std::vector<int64_t>& ids, int64_t count) {
  const int64_t n = std::min<int64_t>(count, static_cast<int64_t>(ids.size()));
  return {ids.end() - n, ids.end()};
}

}  // namespace

Hmt::Hmt(const Decoder& decoder, const HmtOptions& options)
    : SegmentMemory(decoder, options.segment), options_(options) {
  if (options.segment <= 0 || options.sensory < 0 || options.memories <= 0 || options.recall_width <= 0) {
    throw Error(Kind::usage,
                "hmt: expected a positive segment, memories and recall_width, and sensory of at least 0");
  }
  if (options.sensory > options.segment) {
    throw Error(Kind::usage,
                "hmt.sensory is " + std::to_string(options.sensory) + ", more than the segment's " +
                    std::to_string(options.segment) + " tokens",
                "use a longer segment or fewer sensory tokens");
  }
  mode_ = options.mode == "hmt"      ? Mode::hmt
          : options.mode == "stage1" ? Mode::stage1
          : options.mode == "rmt"    ? Mode::rmt
                                     : Mode::baseline;
  if (options.map_from >= 0 && mode_ != Mode::hmt)
    throw Error(Kind::usage, "hmt.map_from maps a recalled memory, which mode " + options.mode + " has not");
  // std::nearbyint rounds halves to even, as the original does.
  summary_ =
      options.summary_tokens
          ? options.summary_tokens
          : static_cast<int64_t>(std::nearbyint(static_cast<double>(options.segment) * options.summary));
  if (mode_ == Mode::hmt && (summary_ <= 0 || summary_ > options.segment)) {
    throw Error(Kind::usage,
                "hmt.summary gives " + std::to_string(summary_) + " tokens of a segment of " +
                    std::to_string(options.segment),
                "use a share above 0 and up to 1");
  }
}

int64_t Hmt::room(const Row& row) const {
  const auto longer = row.numbers.find("lengthened");
  return segment_ + (longer == row.numbers.end() ? 0 : longer->second) - row.phase;
}

int64_t Hmt::text_kept() const {
  return std::max(options_.sensory, options_.recall == "causal" ? summary_ : 0);
}

Tensor Hmt::read_vectors(const Row& row) const {
  const auto own = row.tensors.find(mode_ == Mode::hmt ? "recalled" : "memory");
  return own == row.tensors.end() ? memory_ : own->second;
}

Tensor Hmt::mapped(const Tensor& vector) const {
  return linear(vector.to(memory_.scalar_type()), options_.map == "inverse" ? inverse_map_ : map_);
}

std::vector<Piece> Hmt::before(const Row& row) const {
  std::vector<Piece> pieces;
  if (mode_ != Mode::baseline) pieces.push_back({read_vectors(row), {}});
  if (mode_ == Mode::hmt || mode_ == Mode::stage1)
    pieces.push_back({{}, last(row.previous, options_.sensory)});
  return pieces;
}

std::vector<Piece> Hmt::after(const Row& row) const {
  if (mode_ == Mode::baseline) return {};
  return {{read_vectors(row), {}}};
}

void Hmt::written(Row& row, const Tensor& vectors) const {
  row.tensors["memory"] = vectors;
  if (mode_ != Mode::hmt) return;
  const auto found = row.tensors.find("memories");
  Tensor all = found == row.tensors.end() ? vectors : at::cat({found->second, vectors});
  const int64_t surplus = all.size(0) - options_.memories;
  row.tensors["memories"] = surplus > 0 ? all.narrow(0, surplus, options_.memories) : all;
}

std::vector<Hmt::Summary> Hmt::upcoming(const Step& step, const Row& row, const Span& span,
                                        int64_t most) const {
  const std::vector<int64_t> begins = step.begins(span, segment_);
  const bool ahead = options_.recall == "lookahead";
  std::vector<Summary> out;
  for (size_t i = 0; i + 1 < begins.size() && i < static_cast<size_t>(most); ++i) {
    Summary one{span.row, row.segment + static_cast<int64_t>(i), {}, {}};
    Span text = span;
    if (ahead) {
      text.offset = begins[i];
      text.count = std::min(summary_, begins[i + 1] - begins[i]);
      one.seen = step.seen(text);
    } else if (i > 0) {
      text.count = std::min(summary_, begins[i] - begins[i - 1]);
      text.offset = begins[i] - text.count;
    }
    one.text = ahead || i > 0 ? step.ids(text) : last(row.previous, summary_);
    out.push_back(std::move(one));
  }
  return out;
}

// A summary depends on the text alone, so those of several segments go through one pass.
Tensor Hmt::queries_of(const Step& step, const State& state, const std::vector<Span>& opening) const {
  Prepared now;
  Prepared& known = step.prepared ? *step.prepared : now;
  const auto key = [&](const Span& s) {
    return std::pair(s.row, state.rows[static_cast<size_t>(s.row)].segment);
  };
  std::vector<Span> missing;
  for (const Span& s : opening) {
    if (known.count(key(s)) == 0) missing.push_back(s);
  }
  // Lengthened segments end where nobody knows yet; attention's dropout is drawn by the place in the pass.
  const bool alone = options_.reading != "plain" || options_.map_from >= 0 ||
                     (step.draws && step.draws->dropout.attention > 0);
  std::vector<Summary> texts;
  for (const Span& s : missing) {
    const int64_t slots = static_cast<int64_t>(missing.size()) * (summary_ + 2);
    const int64_t most = step.prepared && !alone ? std::max<int64_t>(1, kSlotsAhead / slots) : 1;
    for (Summary& one : upcoming(step, state.rows[static_cast<size_t>(s.row)], s, most))
      texts.push_back(std::move(one));
  }
  if (!texts.empty()) {
    const Tensor lines = summarise(step, texts);
    for (size_t i = 0; i < texts.size(); ++i)
      known[{texts[i].row, texts[i].segment}] = lines[static_cast<int64_t>(i)];
  }
  std::vector<Tensor> out;
  for (const Span& s : opening) {
    const auto found = known.find(key(s));
    out.push_back(found->second);
    known.erase(found);
  }
  return at::stack(out);
}

Tensor Hmt::summarise(const Step& step, const std::vector<Summary>& texts) const {
  std::vector<RowSlots> slots;
  for (const Summary& text : texts) {
    RowSlots r;
    r.pieces = {{prompt_, {}}, {{}, text.text}, {prompt_, {}}};
    r.keep = false;
    r.text = text.row;
    r.segment = text.segment;
    r.aside = true;
    if (!text.seen.empty()) {
      r.seen.assign(1, 1);
      r.seen.insert(r.seen.end(), text.seen.begin(), text.seen.end());
      r.seen.push_back(1);
    }
    slots.push_back(std::move(r));
  }
  Pass pass(decoder_, std::move(slots), step.draws);
  const Tensor hidden = pass.run();
  std::vector<Tensor> lines;
  for (size_t i = 0; i < texts.size(); ++i)
    lines.push_back(hidden[static_cast<int64_t>(i)][pass.counts()[i] - 1]);
  return at::stack(lines);  // [n, E]
}

Recalled Hmt::recall_for(const State& state, const std::vector<int64_t>& rows, const Tensor& queries) const {
  const at::ScalarType type = options_.recall_dtype == "bf16"        ? at::kBFloat16
                              : queries.scalar_type() == at::kDouble ? at::kDouble
                                                                     : at::kFloat;
  std::vector<int64_t> count;
  int64_t most = 0;
  for (int64_t r : rows) {
    count.push_back(state.rows[static_cast<size_t>(r)].tensors.at("memories").size(0));
    most = std::max(most, count.back());
  }
  std::vector<Tensor> lists;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Tensor& m = state.rows[static_cast<size_t>(rows[i])].tensors.at("memories");
    const int64_t missing = most - count[i];
    lists.push_back(missing > 0 ? at::cat({m, at::zeros({missing, m.size(1)}, m.options())}) : m);
  }
  const double divisor =
      recall_divisor(options_.recall_width, decoder_.config().embed_width, options_.recall_scale == "train");
  return recall(at::stack(lists), count, queries, query_.value(), key_.value(), divisor, type);
}

void Hmt::open(const Step& step, State& state) const {
  if (mode_ != Mode::hmt) return;
  const bool ahead = options_.recall == "lookahead";
  std::vector<int64_t> rows;
  std::vector<Span> opening;
  for (const Span& s : step.spans) {
    if (!s.opens) continue;
    Row& row = state.rows[static_cast<size_t>(s.row)];
    if (row.tensors.find("memories") == row.tensors.end()) {  // nothing to recall from
      if (row.segment == options_.map_from) {
        row.tensors["recalled"] = mapped(memory_);
        row.numbers["lengthened"] = extra();
      }
      if (!(step.trace && ahead)) continue;
    }
    rows.push_back(s.row);
    opening.push_back(s);
  }
  if (rows.empty()) return;
  const Tensor queries = queries_of(step, state, opening);
  const int64_t segment = state.rows[static_cast<size_t>(rows[0])].segment;
  if (step.trace) step.trace->put("summary", rows, segment, queries);
  std::vector<int64_t> with, place;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (state.rows[static_cast<size_t>(rows[i])].tensors.count("memories") == 0) continue;
    with.push_back(rows[i]);
    place.push_back(static_cast<int64_t>(i));
  }
  if (with.empty()) return;
  const Recalled found =
      recall_for(state, with, queries.index_select(0, at::tensor(place, at::kLong).to(queries.device())));
  std::vector<int64_t> distance;
  for (size_t i = 0; i < with.size(); ++i) {
    const int64_t past = std::min(state.rows[static_cast<size_t>(with[i])].segment, options_.memories);
    distance.push_back(past - found.best[i]);
  }
  if (step.trace) {
    step.trace->put("recalled", with, segment, found.vectors);
    step.trace->put("recall_weights", with, segment, found.weights);
    step.trace->put("distance", with, segment, at::tensor(distance, at::kLong));
  }
  for (size_t i = 0; i < with.size(); ++i) {
    Row& row = state.rows[static_cast<size_t>(with[i])];
    Tensor p = found.vectors.narrow(0, static_cast<int64_t>(i), 1);
    if (row.segment == options_.map_from) p = mapped(p);
    row.tensors["recalled"] = p;
  }
  lengthen(with, distance, state);
}

void Hmt::lengthen(const std::vector<int64_t>& rows, const std::vector<int64_t>& distance,
                   State& state) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = state.rows[static_cast<size_t>(rows[i])];
    const int64_t reach = options_.reading == "dynamic_first_row" ? distance[0] : distance[i];
    const bool near = options_.reading != "plain" && reach < kNear;
    const bool mapped = options_.map_from >= 0 && row.segment >= options_.map_from;
    row.numbers["lengthened"] = near || mapped ? extra() : 0;
  }
}

void Hmt::close(const Step& step, State& state) const {
  SegmentMemory::close(step, state);
  std::vector<int64_t> which;
  std::vector<Tensor> memories;
  for (const Span& s : step.spans) {
    if (!s.closes) continue;
    Row& row = state.rows[static_cast<size_t>(s.row)];
    row.tensors.erase("recalled");
    row.numbers.erase("lengthened");
    const auto memory = row.tensors.find("memory");
    if (memory == row.tensors.end()) continue;
    which.push_back(s.row);
    memories.push_back(memory->second);
    if (mode_ == Mode::hmt) row.tensors.erase(memory);  // the list holds it
  }
  if (step.trace && !which.empty()) {
    step.trace->put("memory", which, state.rows[static_cast<size_t>(which[0])].segment, at::stack(memories));
  }
}

std::vector<Breach> Hmt::breaches() const {
  if (mode_ != Mode::hmt) return {};
  std::vector<Breach> out;
  if (options_.recall == "lookahead") {
    out.push_back({"causality", "the recall's query is a summary of the segment that it helps to predict"});
    out.push_back({"split", "the summary sees as much of the segment as one call holds"});
  }
  if (options_.reading == "dynamic_first_row")
    out.push_back({"rows", "the first row decides how far all rows read"});
  return out;
}

int64_t Hmt::bound() const {
  const auto vector = static_cast<int64_t>(sizeof(double)) * decoder_.config().embed_width;
  const int64_t text = 4 * text_kept() * static_cast<int64_t>(sizeof(int64_t));
  return SegmentMemory::bound() + (2 + options_.sensory + extra()) * slot_bytes() +
         (options_.memories + 3) * vector + text;
}

int64_t Hmt::extra_slots(int64_t) const {
  if (mode_ == Mode::baseline) return 0;
  const int64_t vectors = 2, sensory = mode_ == Mode::rmt ? 0 : options_.sensory;
  return vectors + sensory + (mode_ == Mode::hmt ? summary_ + 2 : 0);  // and the summary's pass
}

std::vector<Parameter> Hmt::parameters() {
  const int64_t e = decoder_.config().embed_width, dh = options_.recall_width;
  std::vector<Parameter> out;
  if (mode_ != Mode::baseline) out.push_back({"memory_cell.memory", nullptr, &memory_, {1, e}, false});
  out.push_back({"memory_cell.mem_map.linear.weight", &map_, nullptr, {e, e}, true});
  out.push_back({"memory_cell.mem_map.inv_linear.weight", &inverse_map_, nullptr, {e, e}, true});
  if (mode_ == Mode::hmt) {
    out.push_back({"mem", nullptr, &prompt_, {1, e}, false});
    out.push_back({"cross_attn.wq.weight", &query_, nullptr, {dh, e}, true});
    out.push_back({"cross_attn.wk.weight", &key_, nullptr, {dh, e}, true});
  }
  return out;
}

// The map belongs to an experiment; without it nothing reads it.
std::vector<std::string> Hmt::frozen() const {
  if (options_.map_from >= 0) return {};
  return {"memory_cell.mem_map.*"};
}

void Hmt::initialise(uint64_t seed) {
  const int64_t e = decoder_.config().embed_width;
  memory_ = initial_vectors(decoder_, 1, seed, 0);
  prompt_ = initial_vectors(decoder_, 1, seed, 1);
  map_ = Weight(linear_init(e, e, seed, 0));
  inverse_map_ = Weight(linear_init(e, e, seed, 1));
  query_ = Weight(linear_init(options_.recall_width, e, seed, 2));
  key_ = Weight(linear_init(options_.recall_width, e, seed, 3));
}

void Hmt::to(at::Device device, at::ScalarType type) {
  for (const Parameter& p : parameters()) p.set(p.value().detach().to(device, type));
}

}  // namespace mneme
