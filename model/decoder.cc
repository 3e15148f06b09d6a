#include "model/decoder.h"

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "ops/activation.h"
#include "ops/dropout.h"
#include "ops/norm.h"
#include "ops/recompute.h"

namespace mneme {
namespace {

// Draw sites inside a layer; the layer's own number tells layers apart.
enum DrawSite : int64_t { kQ, kK, kV, kQkv, kOut, kGate, kUp, kDown };

// 2^(-8/n) and its powers for the largest power of two n <= heads, then odd powers of the next finer base.
Tensor make_slopes(int64_t heads) {
  int64_t n = 1;
  while (2 * n <= heads) n *= 2;
  std::vector<float> slopes;
  const double base = std::pow(2.0, -8.0 / static_cast<double>(n));
  for (int64_t i = 1; i <= n; ++i) slopes.push_back(static_cast<float>(std::pow(base, i)));
  const double finer = std::pow(2.0, -8.0 / static_cast<double>(2 * n));
  for (int64_t i = 1; static_cast<int64_t>(slopes.size()) < heads; i += 2) {
    slopes.push_back(static_cast<float>(std::pow(finer, i)));
  }
  return at::tensor(slopes, at::kFloat);
}

}  // namespace

Decoder::Decoder(ModelConfig config) : config_(std::move(config)) {
  if (config_.position == PositionKind::rotary) rotary_.emplace(config_.rotary);
  layers.resize(static_cast<size_t>(config_.layers));
  if (config_.position == PositionKind::alibi) slopes_ = make_slopes(config_.heads);
}

Tensor Decoder::embed(const Tensor& ids) const {
  const Tensor flat = ids.reshape(-1).to(device());
  Tensor x = embedding.defined() ? embedding.index_select(0, flat) : tied_.rows(flat);
  if (embedding_lora) {
    const Tensor low = embedding_lora->a.index_select(1, flat).t();  // [N, r]
    x = x + linear(low, Weight(embedding_lora->b)).to(x.scalar_type()) * embedding_lora->scale;
  }
  std::vector<int64_t> shape = ids.sizes().vec();
  shape.push_back(config_.embed_width);
  return x.to(dtype_).view(shape);
}

Stream Decoder::begin(const Tensor& x, const Tensor& positions) const {
  Stream s{project_in.defined() ? project_in(x) : x, {}};
  if (position_table.defined()) {
    const Tensor rows = (positions.reshape(-1) + config_.position_offset).to(position_table.device());
    std::vector<int64_t> shape = positions.sizes().vec();
    shape.push_back(config_.width);
    s.branch = position_table.index_select(0, rows).to(dtype_).view(shape);
  }
  return s;
}

Tensor Decoder::normed(const Norm& n, const Tensor& x) const {
  return config_.norm == NormKind::rms ? rms_norm(x, n.weight, config_.norm_eps)
                                       : layer_norm(x, n.weight, n.bias, config_.norm_eps);
}

Tensor Decoder::branch_norm(const Norm& n, Stream& s) const {
  if (!s.branch.defined()) return normed(n, s.x);
  auto [sum, out] = config_.norm == NormKind::rms
                        ? add_rms_norm(s.x, s.branch, n.weight, config_.norm_eps)
                        : add_layer_norm(s.x, s.branch, n.weight, n.bias, config_.norm_eps);
  s = {std::move(sum), {}};
  return out;
}

Decoder::Attending Decoder::before_attention(int64_t l, Stream s, const Draws* draws) const {
  const Layer& p = layers[static_cast<size_t>(l)];
  const bool after = config_.norm_place == NormPlace::after;
  const Tensor x = after ? s.value() : branch_norm(p.attention_norm, s);
  Attending out{after ? x : s.x, config_.shared_norm ? x : Tensor(), {}, {}, {}};
  const int64_t rows = x.size(0), count = x.size(1), width = config_.head_width;
  const int64_t heads = config_.heads, groups = config_.kv_heads;
  if (config_.qkv == QkvKind::separate) {
    out.q = p.q(x, draws, l, kQ).view({rows, count, heads, width});
    out.k = p.k(x, draws, l, kK).view({rows, count, groups, width});
    out.v = p.v(x, draws, l, kV).view({rows, count, groups, width});
  } else {
    const Tensor fused = p.qkv(x, draws, l, kQkv);
    const bool per_head = config_.qkv == QkvKind::per_head;
    const Tensor split =
        per_head ? fused.view({rows, count, heads, 3, width}) : fused.view({rows, count, 3, heads, width});
    const int64_t axis = per_head ? 3 : 2;
    out.q = split.select(axis, 0);
    out.k = split.select(axis, 1);
    out.v = split.select(axis, 2);
  }
  if (config_.qk_norm) {
    out.q = rms_norm(out.q, p.q_norm.weight, config_.norm_eps);
    out.k = rms_norm(out.k, p.k_norm.weight, config_.norm_eps);
  }
  return out;
}

Tensor Decoder::mlp(int64_t l, const Tensor& x, const Draws* draws) const {
  const Layer& p = layers[static_cast<size_t>(l)];
  const Tensor up = p.up(x, draws, l, kUp);
  const Tensor inner = config_.mlp == MlpKind::swiglu ? swiglu(p.gate(x, draws, l, kGate), up)
                                                      : activate(config_.activation, up);
  return p.down(inner, draws, l, kDown);
}

Stream Decoder::after_attention(int64_t l, const Tensor& x, const Tensor& shared, const Tensor& mixed,
                                const Draws* draws) const {
  const Layer& p = layers[static_cast<size_t>(l)];
  const double rate = draws ? draws->dropout.residual : 0;
  const auto dropped = [&](const Tensor& branch, int64_t site) {
    if (rate == 0) return branch;
    return dropout(branch, rate,
                   draws->sites(branch.size(0), branch.size(-1), Draw::dropout_residual, 2 * l + site));
  };
  const Tensor attended = dropped(p.out(mixed.flatten(2), draws, l, kOut), 0);
  if (config_.norm_place == NormPlace::after) {
    const Tensor middle = normed(p.attention_norm, x + attended);
    return {normed(p.mlp_norm, middle + dropped(mlp(l, middle, draws), 1)), {}};
  }
  if (config_.parallel_residual) {
    const Tensor second = shared.defined() ? shared : normed(p.mlp_norm, x);
    return {x, attended + dropped(mlp(l, second, draws), 1)};
  }
  Stream s{x, attended};
  const Tensor second = branch_norm(p.mlp_norm, s);
  s.branch = dropped(mlp(l, second, draws), 1);
  return s;
}

Stream Decoder::recomputed_layer(int64_t l, const Stream& s, const Attend& attend, const Draws* draws) const {
  // Outlives the pass: the backward pass draws again.
  const auto kept = draws ? std::make_shared<const Draws>(*draws) : nullptr;
  std::vector<Tensor> in{s.x};
  if (s.branch.defined()) in.push_back(s.branch);
  const std::vector<Tensor> first = recomputed(
      [this, l, kept](const std::vector<Tensor>& t) {
        const Attending a = before_attention(l, {t[0], t.size() > 1 ? t[1] : Tensor()}, kept.get());
        std::vector<Tensor> out{a.x, a.q, a.k, a.v};
        if (a.shared.defined()) out.push_back(a.shared);
        return out;
      },
      in, &layers[static_cast<size_t>(l)].attention_norm);
  const Tensor mixed = attend(l, first[1], first[2], first[3]);
  std::vector<Tensor> middle{first[0], mixed};
  if (first.size() > 4) middle.push_back(first[4]);
  const std::vector<Tensor> last = recomputed(
      [this, l, kept](const std::vector<Tensor>& t) {
        const Stream out = after_attention(l, t[0], t.size() > 2 ? t[2] : Tensor(), t[1], kept.get());
        return out.branch.defined() ? std::vector<Tensor>{out.x, out.branch} : std::vector<Tensor>{out.x};
      },
      middle, &layers[static_cast<size_t>(l)].mlp_norm);
  return {last[0], last.size() > 1 ? last[1] : Tensor()};
}

Stream Decoder::layer(int64_t l, Stream s, const Attend& attend, const Draws* draws) const {
  if (recompute && at::GradMode::is_enabled()) return recomputed_layer(l, s, attend, draws);
  const Attending a = before_attention(l, std::move(s), draws);
  return after_attention(l, a.x, a.shared, attend(l, a.q, a.k, a.v), draws);
}

Tensor Decoder::finish(const Stream& s) const {
  Stream last = s;
  const Tensor x = config_.final_norm ? branch_norm(final_norm, last) : last.value();
  return project_out.defined() ? project_out(x) : x;
}

Tensor Decoder::run(const Tensor& x, const Tensor& positions, const Attend& attend,
                    const Draws* draws) const {
  Stream s = begin(x, positions);
  if (draws && draws->dropout.embedding > 0) {
    s = {dropout(s.value(), draws->dropout.embedding,
                 draws->sites(x.size(0), config_.width, Draw::dropout_embedding, 0)),
         {}};
  }
  for (int64_t l = 0; l < config_.layers; ++l) s = layer(l, std::move(s), attend, draws);
  return finish(s);
}

Tensor Decoder::logits(const Tensor& hidden) const {
  const Tensor out = linear(hidden, head(), head_.bias);
  return out.scalar_type() == at::kDouble ? out : out.to(at::kFloat);
}

}  // namespace mneme
