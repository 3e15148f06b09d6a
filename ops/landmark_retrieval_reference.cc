#include "base/error.h"
#include "ops/landmark_retrieval_impl.h"

namespace mneme {
namespace {

using landmark::SearchShape;

at::ScalarType wide(const Tensor& t) { return at::promote_types(t.scalar_type(), at::kFloat); }

// Keys of the group's head for every query head: [G, ...] -> [H, ...].
Tensor for_heads(const Tensor& t, int64_t share) { return t.repeat_interleave(share, 0); }

}  // namespace

Tensor landmark_search_reference(const Tensor& queries, const std::vector<Tensor>& landmarks,
                                 const LandmarkSearch& search, Tensor* log_weights) {
  const SearchShape shape = landmark::check_search(queries, landmarks, search);
  if (shape.N == 0) {
    if (log_weights) *log_weights = at::empty({shape.T, shape.H, 0}, queries.options().dtype(at::kFloat));
    return at::empty({shape.T, shape.H, 0}, queries.options().dtype(at::kInt));
  }
  const Tensor keys = for_heads(at::cat(landmarks, 1), shape.share()).to(wide(queries));  // [H, N, K]
  std::vector<int64_t> slots;
  for (int64_t n = 0; n < shape.N; ++n) {
    slots.push_back(landmark_search_slot(n, shape.N, shape.read, search.latest_shifted));
  }
  const Tensor index = at::tensor(slots, queries.options().dtype(at::kLong));
  const Tensor rotated = queries.to(wide(queries)).index_select(2, index);  // [T, H, N, K]
  Tensor x = (rotated * keys.unsqueeze(0)).sum(-1) * shape.scale;           // [T, H, N]
  const Tensor logs = x.log_softmax(-1);
  Tensor best = logs;
  if (search.pick == LandmarkPick::max_over_heads) best = logs.amax(1, true).expand_as(logs);
  if (search.pick == LandmarkPick::max_over_tokens) best = logs.amax(0, true).expand_as(logs);
  if (log_weights) *log_weights = best.to(at::kFloat).contiguous();
  if (search.pick != LandmarkPick::per_token_and_head) x = best;

  const Tensor scores = x.to(at::kCPU, at::kDouble).contiguous();
  const Tensor out = at::empty({shape.T, shape.H, shape.read}, at::kInt);
  landmark::Picker<double> picker;
  for (int64_t i = 0; i < shape.T * shape.H; ++i) {
    picker.pick(scores.data_ptr<double>() + i * shape.N, shape.N, shape.read, search.tie_eps,
                out.data_ptr<int>() + i * shape.read);
  }
  return out.to(queries.device());
}

Tensor landmark_recall_reference(const Tensor& queries, const LandmarkPages& pages, const Tensor& selected,
                                 const Tensor& local, const Tensor& lse, const LandmarkSearch& search,
                                 Tensor* merged) {
  const SearchShape shape = landmark::check_recall(queries, pages, selected, local, lse, search);
  const at::ScalarType type = wide(queries);
  // Gates first; the local window is one more value under one more gate.
  std::vector<Tensor> gates = {lse.t().to(type).unsqueeze(2)}, values = {local.to(type).unsqueeze(2)};
  if (shape.read > 0) {
    std::vector<Tensor> all_k, all_v;
    for (const LandmarkPage& page : pages.page) {
      all_k.push_back(for_heads(page.k, shape.share()));
      all_v.push_back(for_heads(page.v, shape.share()));
    }
    const std::vector<int32_t> places = landmark::places_of(pages, selected);
    const Tensor place = at::tensor(places, at::kLong).view(selected.sizes()).to(queries.device());
    const Tensor k = at::stack(all_k, 1).to(type), v = at::stack(all_v, 1).to(type);  // [H, pages, f + 1, K]
    const Tensor chosen = selected.to(at::kLong);
    const Tensor shifted =
        search.latest_shifted ? (chosen >= shape.N - shape.read).to(at::kLong) : at::zeros_like(chosen);
    const Tensor slot = at::arange(shape.read, chosen.options()) + shifted;  // [T, H, read]
    const Tensor q =
        queries.to(type).gather(2, slot.unsqueeze(3).expand({shape.T, shape.H, shape.read, shape.K}));
    const Tensor head = at::arange(shape.H, chosen.options()).view({1, shape.H, 1}).expand_as(chosen);
    const Tensor keys = k.index({head, place}), held = v.index({head, place});  // [T, H, read, f + 1, K]
    const Tensor x = keys.matmul(q.unsqueeze(4)).squeeze(4) * shape.scale;      // [T, H, read, f + 1]
    const int64_t f = x.size(3) - 1;
    const Tensor inner = x.slice(3, 0, f).softmax(3).unsqueeze(3);  // [T, H, read, 1, f]
    gates.push_back(x.select(3, f));
    values.push_back(inner.matmul(held.slice(3, 0, f)).squeeze(3));
    if (pages.release) pages.release();
  }
  const Tensor gate = at::cat(gates, 2);
  const Tensor nothing = gate.amax(2, true) == -std::numeric_limits<double>::infinity();
  const Tensor weight = gate.softmax(2).masked_fill(nothing, 0);  // [T, H, 1 + read]
  if (merged) *merged = gate.logsumexp(2).t().to(at::kFloat).contiguous();
  return (weight.unsqueeze(3) * at::cat(values, 2)).sum(2).to(queries.scalar_type());
}

}  // namespace mneme
