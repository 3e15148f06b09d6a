#include <limits>

#include "base/error.h"
#include "ops/attention.h"
#include "ops/attention_shape.h"

namespace mneme {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Copies a row-wise list of pages into dense [B, S, G, K], zero behind each row's end.
Tensor dense(const std::vector<std::vector<KeyPage>>& pages, Tensor KeyPage::*part, const SourceShape& shape,
             const at::TensorOptions& like) {
  Tensor out = at::zeros({static_cast<int64_t>(pages.size()), shape.keys, shape.heads, shape.width}, like);
  for (size_t b = 0; b < pages.size(); ++b) {
    int64_t at = 0;
    for (const KeyPage& page : pages[b]) {
      if (page.count == 0) continue;
      Tensor rows = (page.*part).detach().narrow(1, page.begin, page.count).transpose(0, 1);  // [count, G, K]
      out[static_cast<int64_t>(b)].narrow(0, at, page.count).copy_(rows);
      at += page.count;
    }
  }
  return out;
}

Tensor column(const std::vector<int64_t>& values, const at::Device& device) {  // [B, 1, 1]
  return at::tensor(values, at::kLong).to(device).view({-1, 1, 1});
}

struct Seen {
  Tensor seen;      // bool [B, T, S]
  Tensor distance;  // int64 [B, T, S], of the query behind the key
};

Seen seen_by(const Keys& keys, const SourceShape& shape, const CallShape& call, const at::Device& device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const Tensor j = at::arange(shape.keys, options).view({1, 1, -1});
  const Tensor t = at::arange(call.queries, options).view({1, -1, 1});
  Seen out;
  out.distance = column(shape.start, device) + t - j;
  out.seen = (j < column(shape.length, device)).logical_and(t < column(call.count, device));
  if (keys.sight == Sight::causal) out.seen = out.seen.logical_and(out.distance >= 0);
  if (keys.window > 0) {
    out.seen = out.seen.logical_and((out.distance < keys.window).logical_or(j < keys.keep));
  }
  if (keys.mask.defined()) out.seen = out.seen.logical_and(keys.mask);
  return out;
}

// [B, H, T, S]
Tensor factors(const CallShape& call, const AttentionOptions& options, size_t source,
               const at::TensorOptions& like) {
  const int64_t keys = call.sources[source].keys;
  Tensor out = at::empty({call.rows, call.heads, call.queries, keys}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < call.rows * call.heads * call.queries; ++i) {
    const int64_t t = i % call.queries, h = i / call.queries % call.heads, b = i / call.queries / call.heads;
    dropout_factors(to + i * keys, options, {static_cast<int64_t>(source), b, h, t, 0}, keys);
  }
  return out.to(like);
}

}  // namespace

Tensor attention_reference(const Tensor& q, const std::vector<Keys>& sources, const AttentionOptions& options,
                           Tensor* lse) {
  const CallShape call = check_attention(q, sources, options);
  const at::ScalarType type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t group = call.heads / call.key_heads;
  std::vector<Tensor> scores, values, kept;
  for (size_t s = 0; s < sources.size(); ++s) {
    const Keys& keys = sources[s];
    const SourceShape& shape = call.sources[s];
    if (shape.keys == 0) continue;
    Tensor k = keys.k, v = keys.v;
    if (!keys.pages.empty()) {
      k = dense(keys.pages, &KeyPage::k, shape, q.options().dtype(type));
      v = dense(keys.pages, &KeyPage::v, shape, q.options().dtype(type));
    }
    const Seen see = seen_by(keys, shape, call, q.device());
    if (!keys.length.empty()) {  // what lies behind a row's end may be anything, NaN included
      const Tensor behind = at::arange(shape.keys, see.distance.options()).view({1, -1, 1, 1}) >=
                            column(shape.length, q.device()).unsqueeze(-1);
      k = k.masked_fill(behind, 0);
      v = v.masked_fill(behind, 0);
    }
    k = k.to(type).permute({0, 2, 3, 1}).unsqueeze(2);  // [B, G, 1, K, S]
    v = v.to(type).permute({0, 2, 1, 3}).unsqueeze(2);  // [B, G, 1, S, K]
    Tensor queries = (keys.q.defined() ? keys.q : q).to(type);
    queries = queries.reshape({call.rows, call.queries, call.key_heads, group, call.width})
                  .permute({0, 2, 3, 1, 4});
    Tensor score =
        at::matmul(queries * call.scale, k).reshape({call.rows, call.heads, call.queries, shape.keys});
    if (keys.slopes.defined()) {
      score = score - keys.slopes.to(type).view({1, -1, 1, 1}) * see.distance.unsqueeze(1).to(type);
    }
    if (keys.bias.defined()) {
      Tensor bias = keys.bias.to(type).unsqueeze(-2);  // [B or none, H, 1, S]
      score = score + (bias.dim() == 3 ? bias.unsqueeze(0) : bias);
    }
    scores.push_back(score.masked_fill(see.seen.logical_not().unsqueeze(1), kMinusInfinity));
    values.push_back(v);
    if (options.dropout > 0) kept.push_back(factors(call, options, s, q.options().dtype(type)));
  }
  if (scores.empty()) {
    if (lse) *lse = at::full({call.rows, call.heads, call.queries}, kMinusInfinity, q.options().dtype(type));
    return at::zeros_like(q, at::MemoryFormat::Contiguous);
  }
  const Tensor all = at::cat(scores, -1);  // [B, H, T, sum of S]
  const Tensor top = std::get<0>(all.detach().max(-1, true)).clamp_min(std::numeric_limits<float>::lowest());
  const Tensor e = at::exp(all - top);
  const Tensor sum = e.sum(-1, true);  // 0 where nothing is seen
  const Tensor nothing = sum.detach() == 0;
  const Tensor safe = sum.masked_fill(nothing, 1);
  if (lse) *lse = (at::log(safe) + top).masked_fill(nothing, kMinusInfinity).squeeze(-1);
  Tensor weights = e / safe;
  if (options.dropout > 0) weights = weights * at::cat(kept, -1);
  weights = weights.view({call.rows, call.key_heads, group, call.queries, -1});
  Tensor out;
  int64_t at = 0;
  for (const Tensor& v : values) {
    const Tensor part = at::matmul(weights.narrow(-1, at, v.size(-2)), v);  // [B, G, H/G, T, K]
    out = out.defined() ? out + part : part;
    at += v.size(-2);
  }
  out = out.reshape({call.rows, call.heads, call.queries, call.width}).transpose(1, 2).contiguous();
  return out.to(q.scalar_type());
}

}  // namespace mneme
