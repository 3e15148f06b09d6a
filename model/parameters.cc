// The decoder's parameters: their list, their first values, their types.
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "model/decoder.h"

namespace mneme {
namespace {

class Lister {
 public:
  explicit Lister(std::vector<Parameter>& out) : out_(out) {}

  void tensor(const std::string& name, Tensor& t, std::vector<int64_t> shape) {
    out_.push_back({name, nullptr, &t, std::move(shape), false});
  }
  void linear(const std::string& name, Linear& l, int64_t out, int64_t in, bool bias) {
    out_.push_back({name + ".weight", &l.weight, nullptr, {out, in}, true});
    if (bias) tensor(name + ".bias", l.bias, {out});
  }
  void norm(const std::string& name, Norm& n, int64_t width, bool bias) {
    tensor(name + ".weight", n.weight, {width});
    if (bias) tensor(name + ".bias", n.bias, {width});
  }

 private:
  std::vector<Parameter>& out_;
};

void list_layer(Lister& list, const std::string& at, Layer& l, const ModelConfig& c) {
  const int64_t q = c.heads * c.head_width, kv = c.kv_heads * c.head_width;
  list.norm(at + "attention_norm", l.attention_norm, c.width, c.norm_bias);
  if (!c.shared_norm) list.norm(at + "mlp_norm", l.mlp_norm, c.width, c.norm_bias);
  if (c.qkv == QkvKind::separate) {
    list.linear(at + "q", l.q, q, c.width, c.qkv_bias);
    list.linear(at + "k", l.k, kv, c.width, c.qkv_bias);
    list.linear(at + "v", l.v, kv, c.width, c.qkv_bias);
  } else {
    list.linear(at + "qkv", l.qkv, q + 2 * kv, c.width, c.qkv_bias);
  }
  if (c.qk_norm) {
    list.norm(at + "q_norm", l.q_norm, c.head_width, false);
    list.norm(at + "k_norm", l.k_norm, c.head_width, false);
  }
  list.linear(at + "out", l.out, c.width, q, c.out_bias);
  if (c.mlp == MlpKind::swiglu) list.linear(at + "gate", l.gate, c.inner, c.width, c.mlp_bias);
  list.linear(at + "up", l.up, c.inner, c.width, c.mlp_bias);
  list.linear(at + "down", l.down, c.width, c.inner, c.mlp_bias);
}

}  // namespace

std::vector<Parameter> Decoder::parameters() {
  const ModelConfig& c = config_;
  std::vector<Parameter> out;
  Lister list(out);
  list.tensor("embedding", embedding, {c.vocab, c.embed_width});
  if (c.position == PositionKind::learned) {
    list.tensor("position_table", position_table, {c.max_positions + c.position_offset, c.width});
  }
  if (c.projects_embedding()) {
    list.linear("project_in", project_in, c.width, c.embed_width, false);
    list.linear("project_out", project_out, c.embed_width, c.width, false);
  }
  for (size_t l = 0; l < layers.size(); ++l)
    list_layer(list, "layers." + std::to_string(l) + ".", layers[l], c);
  if (c.final_norm) list.norm("final_norm", final_norm, c.width, c.norm_bias);
  if (!c.tied_head) list.linear("head", head_, c.vocab, c.embed_width, c.head_bias);
  return out;
}

void Decoder::initialise(uint64_t seed) {
  uint64_t index = 0;
  for (const Parameter& p : parameters()) {
    Tensor t = at::empty(p.shape, at::kFloat);
    const bool norm = p.name.find("norm") != std::string::npos;
    if (p.name.ends_with("bias")) {
      t.zero_();
    } else if (norm) {
      t.fill_(1.0);
    } else {
      const bool residual = p.name.ends_with("out.weight") || p.name.ends_with("down.weight");
      const double std = residual ? 0.02 / std::sqrt(2.0 * static_cast<double>(config_.layers)) : 0.02;
      Site site;
      site.seed = seed;
      site.row = index;
      site.draw = Draw::init;
      fill_normal(site, t.data_ptr<float>(), static_cast<size_t>(t.numel()), 0, static_cast<float>(std));
    }
    p.set(t);
    ++index;
  }
  refresh();
}

void Decoder::to(at::Device device, at::ScalarType weights, at::ScalarType activations) {
  dtype_ = activations;
  device_ = device;
  for (const Parameter& p : parameters()) {
    MNEME_CHECK(p.defined(), p.name);
    p.set(p.value().detach().to(device, weights));
  }
  if (slopes_.defined()) slopes_ = slopes_.to(device);
  refresh();
}

void Decoder::pack() {
  for (const Parameter& p : parameters()) {
    if (p.weight) p.weight->pack();
  }
  if (!config_.tied_head) return;
  tied_.pack();
  if (tied_.packed()) embedding = Tensor();
}

void Decoder::refresh() {
  if (config_.tied_head) tied_ = Weight(embedding);
}

int64_t parameter_count(const ModelConfig& config) {
  Decoder shape(config);
  int64_t total = 0;
  for (const Parameter& p : shape.parameters()) {
    int64_t n = 1;
    for (int64_t s : p.shape) n *= s;
    total += n;
  }
  return total;
}

}  // namespace mneme
