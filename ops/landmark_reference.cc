#include "ops/landmark_reference.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "ops/attention_shape.h"

namespace mneme {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

void expect(bool holds, const char* what, const Tensor& found) {
  if (!holds) {
    throw Error(Kind::input,
                std::string("landmark attention: expected ") + what + ", found " + describe(found));
  }
}

// Softmax over the members along the last dimension; all 0 where there are none.
struct Softmax {
  Tensor weight, max, sum;
};
Softmax masked_softmax(const Tensor& scores, const Tensor& members) {
  const Tensor hidden = scores.masked_fill(members.logical_not(), -kInf);
  Tensor max = hidden.detach().amax(-1, true);
  max = max.masked_fill(max == -kInf, 0);
  const Tensor e = (hidden - max).exp();
  const Tensor sum = e.sum(-1, true);
  return {e / (sum + (sum == 0)), max, sum};
}

// Membership of keys in blocks as a matrix [B, 1, S, N]: sums over blocks and their way back are products
// with it, which are deterministic on every device.
struct Groups {
  Tensor matrix;
  std::vector<std::vector<int64_t>> size;  // keys of each block of each row
  Groups(const Tensor& block, const Tensor& like) {
    const Tensor flags = at::one_hot(block, block.max().item<int64_t>() + 1);  // [B, S, N]
    matrix = flags.to(like.scalar_type()).unsqueeze(1);
    const Tensor counts = flags.sum(1).cpu();
    for (int64_t b = 0; b < counts.size(0); ++b) {
      const int64_t* row = counts.data_ptr<int64_t>() + b * counts.size(1);
      size.emplace_back(row, row + counts.size(1));
    }
  }
  Tensor sum(const Tensor& keys) const { return keys.matmul(matrix); }
  Tensor spread(const Tensor& groups) const { return groups.matmul(matrix.transpose(2, 3)); }
  Tensor max(const Tensor& keys) const {
    std::vector<Tensor> rows;
    for (int64_t b = 0; b < keys.size(0); ++b) {
      std::vector<Tensor> tops;
      for (const Tensor& part : keys[b].split_with_sizes(size[b], -1)) {
        tops.push_back(part.size(-1) > 0 ? part.amax(-1)
                                         : at::zeros(part.sizes().slice(0, 2), part.options()));
      }
      rows.push_back(at::stack(tops, -1));
    }
    const Tensor top = at::stack(rows);  // [B, H, T, N]
    return top.masked_fill(top == -kInf, 0);
  }
};

Tensor grouped_softmax(const Tensor& scores, const Tensor& members, const Groups& groups) {
  const Tensor hidden = scores.masked_fill(members.logical_not(), -kInf);
  const Tensor e = (hidden - groups.spread(groups.max(hidden.detach()))).exp();
  const Tensor sum = groups.sum(e);
  return e / groups.spread(sum + (sum == 0));
}

// The blocks that hold ordinary tokens but no visible one, of those whose landmark is visible: their
// landmarks, and their padding; both bool [B, S]. Visibility to a row needs nothing more: the gate says it.
struct PaddedBlocks {
  Tensor landmark, token;
};
PaddedBlocks padded_blocks(const LandmarkKeys& keys, const Tensor& block) {
  const int64_t groups = keys.k.size(1) + 1;
  const Tensor ordinary = keys.is_landmark.logical_not();
  const Tensor none = at::zeros({block.size(0), groups}, block.options());
  const Tensor all = none.scatter_add(1, block, ordinary.to(at::kLong));
  const Tensor seen = none.scatter_add(1, block, ordinary.logical_and(keys.mask).to(at::kLong));
  const Tensor padded = (all > 0).logical_and(seen == 0).gather(1, block);
  return {padded.logical_and(keys.is_landmark), padded.logical_and(ordinary)};
}

}  // namespace

void check_landmark_arguments(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options) {
  expect(q.defined() && q.dim() == 4, "q [B, T, H, K]", q);
  expect(keys.k.defined() && keys.k.dim() == 4, "k [B, S, G, K]", keys.k);
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2), K = q.size(3);
  const int64_t S = keys.k.size(1), G = keys.k.size(2);
  expect(keys.k.size(0) == B && keys.k.size(3) == K && S >= T, "k with q's rows and width, and S >= T",
         keys.k);
  expect(G > 0 && H % G == 0, "a number of key heads that divides the query heads", keys.k);
  expect(keys.v.defined() && keys.v.sizes() == keys.k.sizes(), "v of k's shape", keys.v);
  expect(at::isFloatingType(q.scalar_type()) && keys.k.scalar_type() == q.scalar_type() &&
             keys.v.scalar_type() == q.scalar_type(),
         "q, k and v of one floating type", keys.k);
  auto flags = [&](const Tensor& t) {
    return t.scalar_type() == at::kBool && t.dim() == 2 && t.size(0) == B && t.size(1) == S;
  };
  expect(keys.is_landmark.defined() && flags(keys.is_landmark), "is_landmark bool [B, S]", keys.is_landmark);
  expect(!keys.mask.defined() || flags(keys.mask), "mask bool [B, S]", keys.mask);

  const double p = options.group_dropout;
  if (!(p >= 0 && p < 1 && options.dropout >= 0 && options.dropout < 1)) {
    throw Error(Kind::usage, "landmark attention: dropout must be at least 0 and below 1");
  }
  if (options.scale < 0)
    throw Error(Kind::usage, "landmark attention: the scale must be positive, or 0 for the default");
  const Tensor& keep = options.gate_keep;
  expect(!keep.defined() || (keep.scalar_type() == at::kBool && keep.dim() == 4 && keep.size(0) == B &&
                             keep.size(1) == H && keep.size(2) == T),
         "gate_keep bool [B, H, T, N]", keep);
  expect(!keep.defined() || keep.size(3) >= keys.is_landmark.sum(1).max().item<int64_t>(),
         "gate_keep with a column for every landmark", keep);
  const Tensor& r = options.miss_key;
  expect(!r.defined() || (r.dim() == 3 && r.size(0) == B && r.size(1) == G && r.size(2) == K &&
                          r.scalar_type() == q.scalar_type()),
         "miss_key [B, G, K] of q's type", r);
  expect(!options.controlled.defined() || flags(options.controlled), "controlled bool [B, S]",
         options.controlled);
  if (!r.defined() && (options.controlled.defined() || options.miss_cutoff)) {
    throw Error(Kind::usage, "controlled landmarks and a cutoff need a context-miss key");
  }
  if (options.softmax != LandmarkSoftmax::grouped && (r.defined() || p > 0)) {
    throw Error(Kind::usage, "a context-miss key and group dropout need the grouped softmax");
  }
}

LandmarkSets landmark_sets(const LandmarkKeys& keys, int64_t queries) {
  const Tensor& island = keys.is_landmark;
  const int64_t S = island.size(1);
  const Tensor flags = island.to(at::kLong);
  LandmarkSets sets;
  sets.block = flags.cumsum(1) - flags;
  const Tensor position = at::arange(S, flags.options());
  Tensor masked = (position > position.slice(0, S - queries).unsqueeze(1)).unsqueeze(0);  // [1, T, S]
  masked = keys.mask.defined() ? masked.logical_or(keys.mask.logical_not().unsqueeze(1))
                               : masked.expand({island.size(0), queries, S});
  const Tensor block = sets.block.unsqueeze(1);  // [B, 1, S]
  const Tensor own = block.masked_fill(masked, 0).amax(-1, true) == block;
  sets.masked = masked.logical_or(island.unsqueeze(1).logical_and(own));
  const Tensor seen = sets.masked.logical_not();
  sets.cur = own.logical_and(seen);
  sets.gate = island.unsqueeze(1).logical_and(seen);
  sets.past = seen.logical_and(sets.cur.logical_or(sets.gate).logical_not());
  return sets;
}

LandmarkOptions with_gate_draws(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options) {
  LandmarkOptions out = options;
  if (options.group_dropout == 0 || options.gate_keep.defined()) return out;
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2), S = keys.k.size(1);
  const int64_t N = keys.is_landmark.sum(1).max().item<int64_t>();
  const Tensor keep = at::empty({B, H, T, N}, at::kByte);
  for (int64_t b = 0; b < B; ++b) {
    Site site = options.site;
    site.row += static_cast<uint64_t>(b);
    site.draw = Draw::dropout_gate;
    for (int64_t i = 0; i < H * T; ++i) {
      site.position = static_cast<uint64_t>(i * S);
      fill_keep(site, 1 - options.group_dropout, keep.data_ptr<uint8_t>() + (b * H * T + i) * N,
                static_cast<size_t>(N));
    }
  }
  out.gate_keep = keep.to(q.device(), at::kBool);
  return out;
}

namespace {

// [B, H, T, S]
Tensor weight_factors(const Tensor& q, int64_t S, const LandmarkOptions& options) {
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2);
  AttentionOptions draws;
  draws.dropout = options.dropout;
  draws.site = options.site;
  const Tensor out = at::empty({B, H, T, S}, at::kFloat);
  float* at = out.data_ptr<float>();
  for (int64_t i = 0; i < B * H * T; ++i, at += S)
    dropout_factors(at, draws, {i / (H * T), 0, i / T % H, i % T, 0}, S);
  return out.to(q.device());
}

}  // namespace

Tensor landmark_weights_reference(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& given,
                                  Tensor* lse) {
  check_landmark_arguments(q, keys, given);
  const LandmarkOptions options = with_gate_draws(q, keys, given);
  const int64_t B = q.size(0), T = q.size(1), H = q.size(2), K = q.size(3);
  const int64_t S = keys.k.size(1), share = H / keys.k.size(2);
  const double scale = options.scale != 0 ? options.scale : 1 / std::sqrt(double(K));
  const LandmarkSets sets = landmark_sets(keys, T);
  const Tensor queries = q.transpose(1, 2);                             // [B, H, T, K]
  const Tensor k = keys.k.transpose(1, 2).repeat_interleave(share, 1);  // [B, H, S, K]
  const at::ScalarType type = at::promote_types(q.scalar_type(), at::kFloat);
  Tensor scores = queries.matmul(k.transpose(2, 3)).to(type) * scale;  // [B, H, T, S]
  auto heads = [](const Tensor& set) { return set.unsqueeze(1); };     // over [B, H, T, S]
  auto save_lse = [&](const Softmax& s) {
    if (lse) *lse = (s.max + s.sum.log()).squeeze(-1).detach();  // fp32, of fp64 fp64
  };

  if (options.softmax != LandmarkSoftmax::grouped) {
    Tensor members = sets.masked.logical_not();
    if (options.softmax == LandmarkSoftmax::without_landmark) {
      members = members.logical_and(keys.is_landmark.logical_not().unsqueeze(1));
    }
    const Softmax plain = masked_softmax(scores, heads(members).expand_as(scores));
    save_lse(plain);
    return plain.weight;
  }

  Tensor gate = sets.gate, past = sets.past;
  if (keys.mask.defined()) {
    const PaddedBlocks padded = padded_blocks(keys, sets.block);
    if (options.parity_padded_blocks) {
      // An equal score for all; the gradient that the original lets through a tie is one half.
      scores = at::where(padded.token.view({B, 1, 1, S}), (scores - scores.detach()) * 0.5, scores);
      past = past.logical_or(padded.token.unsqueeze(1));
    } else {
      gate = gate.logical_and(padded.landmark.logical_not().unsqueeze(1));
    }
  }
  const Groups groups(sets.block, scores);
  const Tensor inner = grouped_softmax(scores, heads(past).expand_as(scores), groups);
  const Tensor outer = heads(sets.cur.logical_or(gate)).expand_as(scores);

  Softmax top;
  Tensor won = heads(gate);  // what each landmark wins [B, H, T, S]
  if (options.miss_key.defined()) {
    const Tensor r = options.miss_key.repeat_interleave(share, 1).unsqueeze(3);  // [B, H, K, 1]
    const Tensor controlled = options.controlled.defined()
                                  ? heads(gate.logical_and(options.controlled.unsqueeze(1)))
                                  : heads(at::zeros_like(gate));
    const Tensor members =
        at::cat({outer.logical_and(controlled.logical_not()), at::ones_like(outer.slice(3, 0, 1))}, 3);
    top = masked_softmax(at::cat({scores, queries.matmul(r).to(type) * scale}, 3), members);
    Tensor miss = top.weight.slice(3, S);  // [B, H, T, 1]
    if (options.miss_cutoff) miss = miss.masked_fill(miss < *options.miss_cutoff, 0);
    top.weight = top.weight.slice(3, 0, S);
    won = won * top.weight + masked_softmax(scores, controlled.expand_as(scores)).weight * miss;
  } else {
    top = masked_softmax(scores, outer);
    won = won * top.weight;
  }
  save_lse(top);

  Tensor gates = groups.sum(won);  // by block
  if (options.gate_keep.defined()) {
    const int64_t N = gates.size(3);
    expect(options.gate_keep.size(3) + 1 >= N, "gate_keep with a column for every landmark",
           options.gate_keep);
    const Tensor keep = at::constant_pad_nd(options.gate_keep, {0, 1}, 1).slice(3, 0, N);
    gates = gates * keep / (1 - options.group_dropout);
  }
  return top.weight * heads(sets.cur) + inner * groups.spread(gates);
}

Tensor landmark_attention_reference(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options,
                                    Tensor* lse) {
  Tensor weights = landmark_weights_reference(q, keys, options, lse);
  if (options.dropout > 0) weights = weights * weight_factors(q, keys.k.size(1), options);
  const Tensor v = keys.v.transpose(1, 2).repeat_interleave(q.size(2) / keys.v.size(2), 1);
  return weights.to(v.scalar_type()).matmul(v).transpose(1, 2);
}

}  // namespace mneme
