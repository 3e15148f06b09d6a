#include "memory/landmark_attend.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace mneme {
namespace {

LandmarkPick pick_of(const std::string& name) {
  if (name == "max_over_heads") return LandmarkPick::max_over_heads;
  return name == "max_over_tokens" ? LandmarkPick::max_over_tokens : LandmarkPick::per_token_and_head;
}

LandmarkSoftmax softmax_of(const std::string& name) {
  if (name == "plain") return LandmarkSoftmax::plain;
  return name == "without_landmark" ? LandmarkSoftmax::without_landmark : LandmarkSoftmax::grouped;
}

}  // namespace

LandmarkAttend::LandmarkAttend(Pass& pass, std::vector<const Row*> rows, const LandmarkMemoryOptions& options,
                               const Step& step, const PageFile* file)
    : pass_(pass), rows_(std::move(rows)), options_(options), step_(step), file_(file) {
  for (const Row* row : rows_) {
    slots_.emplace_back(options, *row);
    landmarks_.emplace_back(*row, slots_.back().kept());
    cached_ = std::max(cached_, row->working.size());
  }
  search_.k = options.retrieve;
  search_.pick = pick_of(options.select);
  search_.tie_eps = options.tie_eps;
  rotation_.resize(rows_.size());
  lay_out();
}

void LandmarkAttend::lay_out() {
  const auto n = static_cast<int64_t>(rows_.size());
  const int64_t width = cached_ + pass_.slots();
  is_landmark_ = at::zeros({n, width}, at::kBool);
  mask_ = at::zeros({n, width}, at::kBool);
  for (int64_t r = 0; r < n; ++r) {
    const auto i = static_cast<size_t>(r);
    const int64_t before = rows_[i]->working.size(), left = cached_ - before;
    bool* landmark = is_landmark_.data_ptr<bool>() + r * width + left;
    bool* seen = mask_.data_ptr<bool>() + r * width + left;
    const std::vector<uint8_t>&hidden = rows_[i]->hidden, &fresh = pass_.row(r).seen;
    for (int64_t s = 0; s < before + pass_.counts()[i]; ++s) {
      const auto at = static_cast<size_t>(s < before ? s : s - before);
      // The context-miss slot closes an empty block of its own, so that it is nobody's padding.
      landmark[s] = s < slots_[i].lead() || slots_[i].is_landmark(s);
      seen[s] = s >= slots_[i].lead() &&
                (s < before ? at >= hidden.size() || hidden[at] == 0 : fresh.empty() || fresh[at] != 0);
    }
  }
  if (mask_.all().item<bool>()) mask_ = Tensor();
}

Tensor LandmarkAttend::joined(int64_t layer, const Tensor& fresh, bool values) const {
  if (cached_ == 0) return fresh;
  std::vector<Tensor> lines;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const KvCache& cache = rows_[r]->working;
    std::vector<Tensor> parts;
    const int64_t left = cached_ - cache.size();
    if (left > 0) parts.push_back(at::zeros({left, fresh.size(2), fresh.size(3)}, fresh.options()));
    if (!cache.empty()) parts.push_back(values ? cache.dense(layer).second : cache.dense(layer).first);
    parts.push_back(fresh[static_cast<int64_t>(r)]);
    lines.push_back(at::cat(parts));
  }
  return lines.size() == 1 ? lines[0].unsqueeze(0) : at::stack(lines);
}

Tensor LandmarkAttend::miss_keys(int64_t layer, const Tensor& k) const {
  std::vector<Tensor> keys;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const KvCache& cache = rows_[r]->working;
    keys.push_back(cache.empty() ? k[static_cast<int64_t>(r)][0] : cache.dense(layer).first[0]);
  }
  return at::stack(keys);  // [n, G, K]
}

LandmarkOptions LandmarkAttend::options_at(int64_t layer, const Tensor& k) const {
  LandmarkOptions o;
  o.softmax = softmax_of(options_.softmax);
  if (options_.miss) o.miss_key = miss_keys(layer, k);
  if (!step_.draws) return o;
  o.site = step_.draws->site;
  o.site.layer = static_cast<uint16_t>(layer);
  o.group_dropout = options_.group_dropout;
  o.dropout = step_.draws->dropout.attention;
  if (!options_.miss || options_.miss_controlled == 0) return o;
  const Tensor draw = at::empty(is_landmark_.sizes(), at::kByte);
  for (int64_t r = 0; r < draw.size(0); ++r) {
    Site site = o.site;
    site.row += static_cast<uint64_t>(step_.spans[static_cast<size_t>(r)].row);
    site.draw = Draw::landmark;
    fill_keep(site, options_.miss_controlled, draw.data_ptr<uint8_t>() + r * draw.size(1),
              static_cast<size_t>(draw.size(1)));
  }
  o.controlled = draw.to(at::kBool).logical_and(is_landmark_).to(k.device());
  return o;
}

Tensor LandmarkAttend::operator()(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor near = pass_.rotated(q), keys = pass_.rotated(k);
  pass_.store(layer, keys, v);
  const LandmarkKeys window{joined(layer, keys, false), joined(layer, v, true), is_landmark_.to(q.device()),
                            mask_.defined() ? mask_.to(q.device()) : mask_};
  const LandmarkOptions options = options_at(layer, keys);
  Tensor lse;
  Tensor out = landmark_attention(near, window, options, &lse);
  std::vector<Tensor> lines;
  bool any = false;
  for (int64_t r = 0; r < q.size(0); ++r) {
    const auto i = static_cast<size_t>(r);
    const int64_t count = pass_.counts()[i];
    lines.push_back(out[r]);
    if (slots_[i].read() == 0 || count == 0) continue;
    any = true;
    if (q.requires_grad() && at::GradMode::is_enabled()) {
      throw Error(Kind::usage, "landmark: no gradient crosses the end of a window",
                  "train on texts of one window, or read without gradients");
    }
    const Tensor local = out[r].narrow(0, 0, count), sums = lse[r].narrow(1, 0, count);
    Tensor won;
    if (options_.miss) won = won_by_miss(near[r].narrow(0, 0, count), options.miss_key[r], sums);
    const Tensor merged = recalled(layer, r, q[r].narrow(0, 0, count), local, sums, won);
    lines.back() =
        count == q.size(1) ? merged : at::cat({merged, out[r].narrow(0, count, q.size(1) - count)});
  }
  return any ? at::stack(lines) : out;
}

Tensor LandmarkAttend::turned_queries(int64_t r, const Tensor& q) {
  const auto i = static_cast<size_t>(r);
  const LandmarkSlots& slots = slots_[i];
  const int64_t places = slots.read() + 1, count = q.size(0);
  const Tensor repeated = q.unsqueeze(0).expand({places, count, q.size(1), q.size(2)});
  if (pass_.decoder().config().position != PositionKind::rotary) return repeated.permute({1, 2, 0, 3});
  if (!rotation_[i].cos.defined()) {
    const Tensor begin = at::arange(places, at::kLong).unsqueeze(1) * slots.width();
    rotation_[i] = pass_.decoder().rotary().at(pass_.positions()[r].narrow(0, 0, count).unsqueeze(0) - begin,
                                               q.options());
  }
  return rotate(repeated, rotation_[i]).permute({1, 2, 0, 3});  // [T, H, places, K]
}

// q [T, H, K] turned for the window, miss [G, K], lse [H, T] -> [T, H, 1]
Tensor LandmarkAttend::won_by_miss(const Tensor& q, const Tensor& miss, const Tensor& lse) const {
  const Tensor keys = miss.repeat_interleave(q.size(1) / miss.size(0), 0);  // [H, K]
  const Tensor score = (q * keys).sum(-1).to(lse.scalar_type()) / std::sqrt(static_cast<double>(q.size(2)));
  const Tensor won = (score - lse.t()).exp();
  return (options_.miss_cutoff > 0 ? won.masked_fill(won < options_.miss_cutoff, 0) : won).unsqueeze(2);
}

Tensor LandmarkAttend::recalled(int64_t layer, int64_t r, const Tensor& q, const Tensor& local,
                                const Tensor& lse, const Tensor& won) {
  const auto i = static_cast<size_t>(r);
  LandmarkSearch search = search_;
  search.latest_shifted = slots_[i].latest_shifted();
  const Tensor queries = turned_queries(r, q);
  const std::vector<Tensor> landmarks = landmarks_[i].of(layer);
  const Tensor selected = landmark_search(queries, landmarks, search);
  if (step_.trace) put_trace(layer, r, queries, at::cat(landmarks, 1), selected);
  const LandmarkPages pages = pages_of(layer, r, selected);
  if (!won.defined()) return landmark_recall(queries, pages, selected, local, lse, search);
  // All kept landmarks are controlled: they share what the context-miss token wins.
  const Tensor nothing = at::full_like(lse, -std::numeric_limits<double>::infinity());
  const Tensor far = landmark_recall(queries, pages, selected, at::zeros_like(local), nothing, search);
  return local + (won * far).to(local.scalar_type());
}

LandmarkPages LandmarkAttend::pages_of(int64_t layer, int64_t r, const Tensor& selected) const {
  const Tensor chosen = selected.to(at::kCPU).contiguous();
  std::vector<int32_t> ranks(chosen.data_ptr<int>(), chosen.data_ptr<int>() + chosen.numel());
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  const KvCache& blocks = rows_[static_cast<size_t>(r)]->caches.at("blocks");
  LandmarkPages out;
  out.blocks = slots_[static_cast<size_t>(r)].kept();
  for (const int32_t rank : ranks) {
    const KeyPage held = blocks.page(rank, layer);
    out.add(rank, {held.k, held.v});
  }
  if (file_) {
    out.release = [this] { file_->forget(options_.resident); };
    out.together = options_.resident;
  }
  return out;
}

void LandmarkAttend::put_trace(int64_t layer, int64_t r, const Tensor& queries, const Tensor& landmarks,
                               const Tensor& selected) const {
  const LandmarkSlots& slots = slots_[static_cast<size_t>(r)];
  const int64_t share = queries.size(1) / landmarks.size(0), kept = slots.kept();
  std::vector<int64_t> place;
  for (int64_t n = 0; n < kept; ++n)
    place.push_back(landmark_search_slot(n, kept, slots.read(), slots.latest_shifted()));
  const Tensor scores = (queries.index_select(2, at::tensor(place, at::kLong).to(queries.device())) *
                         landmarks.repeat_interleave(share, 0).unsqueeze(0))
                            .sum(-1) /
                        std::sqrt(static_cast<double>(queries.size(3)));
  const std::string number = std::to_string(layer);
  const int64_t row = step_.spans[static_cast<size_t>(r)].row;
  const int64_t segment = rows_[static_cast<size_t>(r)]->segment;
  step_.trace->put("selected." + number, {row}, segment, selected);    // [T, H, read]
  step_.trace->put("block_scores." + number, {row}, segment, scores);  // [T, H, N]
}

}  // namespace mneme
