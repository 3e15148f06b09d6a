// Every architecture against a plain computation of its own, in double, from the tensors under their
// published names; and generation with the cache against the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json.h"
#include "infer/generate.h"
#include "infer/testing.h"
#include "memory/read.h"
#include "model/load.h"

namespace mneme {
namespace {

using nlohmann::json;

// What the rotary angles of position p are multiplied with: 1 / theta^(2n/R), scaled as the config says.
Tensor frequencies(const json& config, int64_t rotary, double theta, int64_t length) {
  const json scaling = config.value("rope_scaling", json::object());
  const std::string kind = scaling.value("rope_type", "default");
  const double factor = scaling.value("factor", 1.0);
  if (kind == "dynamic" && length > config.at("max_position_embeddings").get<int64_t>()) {
    const double most = config.at("max_position_embeddings").get<double>();
    const auto r = static_cast<double>(rotary);
    theta *= std::pow(factor * static_cast<double>(length) / most - (factor - 1), r / (r - 2));
  }
  std::vector<double> out;
  for (int64_t n = 0; n < rotary / 2; ++n) {
    double f = std::pow(theta, -2.0 * static_cast<double>(n) / static_cast<double>(rotary));
    if (kind == "llama3") {
      const double original = scaling.at("original_max_position_embeddings"), wave = 2 * M_PI / f;
      const double low = scaling.at("low_freq_factor"), high = scaling.at("high_freq_factor");
      const double s = std::clamp((original / wave - low) / (high - low), 0.0, 1.0);
      f = (1 - s) * f / factor + s * f;
    }
    out.push_back(f);
  }
  return at::tensor(out, at::kDouble);
}

// x [T, H, K]; the first 2 * |f| elements of each head turn.
Tensor rotated(const Tensor& x, const Tensor& f, bool interleaved) {
  const int64_t half = f.size(0);
  const Tensor angle = at::arange(x.size(0), at::kDouble).unsqueeze(1) * f;  // [T, R/2]
  const Tensor c = angle.cos().unsqueeze(1), s = angle.sin().unsqueeze(1);
  const Tensor turning = x.narrow(2, 0, 2 * half), rest = x.narrow(2, 2 * half, x.size(2) - 2 * half);
  Tensor a, b;
  if (interleaved) {
    const Tensor pairs = turning.reshape({x.size(0), x.size(1), half, 2});
    a = pairs.select(3, 0);
    b = pairs.select(3, 1);
  } else {
    a = turning.narrow(2, 0, half);
    b = turning.narrow(2, half, half);
  }
  const Tensor p = a * c - b * s, q = b * c + a * s;
  const Tensor turned = interleaved ? at::stack({p, q}, 3).reshape(turning.sizes()) : at::cat({p, q}, 2);
  return at::cat({turned, rest}, 2);
}

class Reference {
 public:
  explicit Reference(const Model& m) : config_(m.decoder->config().original) {
    for (auto& [name, t] : export_parameters(m.decoder->parameters(), file_naming(m.decoder->config())))
      w_[name] = t.to(at::kDouble);
  }

  Tensor logits(const std::vector<int64_t>& text) const {
    const Tensor ids = at::tensor(text, at::kLong);
    const std::string kind = config_.at("model_type");
    if (kind == "gpt2" || kind == "landmark_gpt") return gpt(ids, kind == "landmark_gpt");
    if (kind == "newgpt") return newgpt(ids);
    if (kind == "opt") return opt(ids);
    if (kind == "gpt_neox") return neox(ids);
    return llama(ids, kind);
  }

 private:
  int64_t whole(const char* key) const { return config_.at(key).get<int64_t>(); }
  const Tensor& at_name(const std::string& name) const { return w_.at(name); }
  Tensor biased(const Tensor& x, const std::string& module) const {
    const auto found = w_.find(module + ".bias");
    return found == w_.end() ? x : x + found->second;
  }
  Tensor linear(const Tensor& x, const std::string& module) const {
    return biased(at::matmul(x, at_name(module + ".weight").t()), module);
  }
  Tensor conv(const Tensor& x, const std::string& module) const {  // GPT-2 stores [in, out]
    return biased(at::matmul(x, at_name(module + ".weight")), module);
  }
  Tensor layer_norm(const Tensor& x, const std::string& module, double eps) const {
    const Tensor centred = x - x.mean(-1, true);
    return biased(centred / (centred.square().mean(-1, true) + eps).sqrt() * at_name(module + ".weight"),
                  module);
  }
  Tensor rms_norm(const Tensor& x, const std::string& module, double eps) const {
    return x / (x.square().mean(-1, true) + eps).sqrt() * at_name(module + ".weight");
  }
  static Tensor gelu(const Tensor& x) { return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf()); }
  static Tensor gelu_tanh(const Tensor& x) {
    return 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
  }

  // q [T, H, K], k and v [T, G, K] -> [T, H * K]. `slopes` [H]: the key's position times it is added.
  static Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t window = 0,
                          const std::vector<double>& slopes = {}) {
    const int64_t count = q.size(0), heads = q.size(1), shared = heads / k.size(1);
    std::vector<Tensor> out;
    for (int64_t h = 0; h < heads; ++h) {
      Tensor scores =
          at::matmul(q.select(1, h), k.select(1, h / shared).t()) / std::sqrt(static_cast<double>(q.size(2)));
      if (!slopes.empty()) scores = scores + slopes[static_cast<size_t>(h)] * at::arange(count, at::kDouble);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < count; ++j) {
          if (j > i || (window > 0 && i - j >= window)) scores[i][j] = -INFINITY;
        }
      }
      out.push_back(at::matmul(scores.softmax(-1), v.select(1, h / shared)));
    }
    return at::cat(out, 1);
  }
  static Tensor heads(const Tensor& x, int64_t count) { return x.reshape({x.size(0), count, -1}); }

  Tensor gpt(const Tensor& ids, bool landmark) const {
    const int64_t h = whole("n_head");
    const double eps = config_.value("layer_norm_epsilon", 1e-5);
    Tensor x = at_name("transformer.wte.weight").index_select(0, ids);
    if (!landmark) x = x + at_name("transformer.wpe.weight").narrow(0, 0, ids.size(0));
    const Tensor f = frequencies(config_, x.size(1) / h, 10000, ids.size(0));
    const auto project = [&](const Tensor& t, const std::string& name) {
      return landmark ? linear(t, name) : conv(t, name);
    };
    for (int64_t l = 0; l < whole("n_layer"); ++l) {
      const std::string at = "transformer.h." + std::to_string(l) + ".";
      const std::vector<Tensor> qkv =
          project(layer_norm(x, at + "ln_1", eps), at + "attn.c_attn").chunk(3, 1);
      Tensor q = heads(qkv[0], h), k = heads(qkv[1], h);
      if (landmark) {
        q = rotated(q, f, true);
        k = rotated(k, f, true);
      }
      x = x + project(attention(q, k, heads(qkv[2], h)), at + "attn.c_proj");
      const Tensor up = project(layer_norm(x, at + "ln_2", eps), at + "mlp.c_fc");
      x = x + project(landmark ? gelu(up) : gelu_tanh(up), at + "mlp.c_proj");
    }
    return at::matmul(layer_norm(x, "transformer.ln_f", eps), at_name("transformer.wte.weight").t());
  }

  // specification: LongMem's backbone, one norm for both branches, key-position ALiBi.
  Tensor newgpt(const Tensor& ids) const {
    const int64_t h = whole("n_head");
    int64_t n = 1;
    while (2 * n <= h) n *= 2;
    std::vector<double> slopes;
    for (int64_t i = 1; i <= n; ++i)
      slopes.push_back(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n)));
    for (int64_t i = 1; static_cast<int64_t>(slopes.size()) < h; i += 2)
      slopes.push_back(std::exp2(-4.0 * static_cast<double>(i) / static_cast<double>(n)));
    Tensor x = at_name("transformer.wte.weight").index_select(0, ids);
    for (int64_t l = 0; l < whole("n_layer"); ++l) {
      const std::string at = "transformer.h." + std::to_string(l) + ".";
      const Tensor u = layer_norm(x, at + "ln_1", 1e-6);
      const Tensor a =
          attention(heads(linear(u, at + "attn.q_proj"), h), heads(linear(u, at + "attn.k_proj"), h),
                    heads(linear(u, at + "attn.v_proj"), h), 0, slopes);
      x = x + linear(a, at + "attn.out_proj") +
          linear(gelu_tanh(linear(u, at + "mlp.fc_in")), at + "mlp.fc_out");
    }
    return linear(layer_norm(x, "transformer.ln_f", 1e-6), "lm_head");
  }

  Tensor opt(const Tensor& ids) const {
    const int64_t h = whole("num_attention_heads");
    const bool before = config_.at("do_layer_norm_before");
    const bool projected = whole("word_embed_proj_dim") != whole("hidden_size");
    const std::string root = "model.decoder.";
    Tensor x = at_name(root + "embed_tokens.weight").index_select(0, ids);
    if (projected) x = linear(x, root + "project_in");
    x = x + at_name(root + "embed_positions.weight").narrow(0, 2, ids.size(0));
    for (int64_t l = 0; l < whole("num_hidden_layers"); ++l) {
      const std::string at = root + "layers." + std::to_string(l) + ".", self = at + "self_attn.";
      const auto norm = [&](const Tensor& t, const char* name) { return layer_norm(t, at + name, 1e-5); };
      const Tensor u = before ? norm(x, "self_attn_layer_norm") : x;
      x = x + linear(attention(heads(linear(u, self + "q_proj"), h), heads(linear(u, self + "k_proj"), h),
                               heads(linear(u, self + "v_proj"), h)),
                     self + "out_proj");
      if (!before) x = norm(x, "self_attn_layer_norm");
      x = x + linear(linear(before ? norm(x, "final_layer_norm") : x, at + "fc1").relu(), at + "fc2");
      if (!before) x = norm(x, "final_layer_norm");
    }
    if (before) x = layer_norm(x, root + "final_layer_norm", 1e-5);
    if (projected) x = linear(x, root + "project_out");
    return at::matmul(x, at_name(root + "embed_tokens.weight").t());
  }

  Tensor neox(const Tensor& ids) const {
    const int64_t h = whole("num_attention_heads"), width = whole("hidden_size") / h;
    const auto rotary =
        static_cast<int64_t>(static_cast<double>(width) * config_.at("rotary_pct").get<double>());
    const Tensor f = frequencies(config_, rotary, config_.at("rotary_emb_base"), ids.size(0));
    const bool parallel = config_.at("use_parallel_residual"), exact = config_.at("hidden_act") == "gelu";
    Tensor x = at_name("gpt_neox.embed_in.weight").index_select(0, ids);
    for (int64_t l = 0; l < whole("num_hidden_layers"); ++l) {
      const std::string at = "gpt_neox.layers." + std::to_string(l) + ".";
      const Tensor qkv = linear(layer_norm(x, at + "input_layernorm", 1e-5), at + "attention.query_key_value")
                             .reshape({ids.size(0), h, 3 * width});
      const Tensor q = rotated(qkv.narrow(2, 0, width), f, false),
                   k = rotated(qkv.narrow(2, width, width), f, false);
      const Tensor a = linear(attention(q, k, qkv.narrow(2, 2 * width, width)), at + "attention.dense");
      const Tensor up = linear(layer_norm(parallel ? x : x + a, at + "post_attention_layernorm", 1e-5),
                               at + "mlp.dense_h_to_4h");
      x = x + a + linear(exact ? gelu(up) : gelu_tanh(up), at + "mlp.dense_4h_to_h");
    }
    return linear(layer_norm(x, "gpt_neox.final_layer_norm", 1e-5), "embed_out");
  }

  Tensor llama(const Tensor& ids, const std::string& kind) const {
    const int64_t h = whole("num_attention_heads"), g = whole("num_key_value_heads");
    const int64_t width = config_.value("head_dim", whole("hidden_size") / h);
    const int64_t window = kind == "mistral" ? whole("sliding_window") : 0;
    const double eps = config_.at("rms_norm_eps");
    const Tensor f = frequencies(config_, width, config_.at("rope_theta"), ids.size(0));
    Tensor x = at_name("model.embed_tokens.weight").index_select(0, ids);
    for (int64_t l = 0; l < whole("num_hidden_layers"); ++l) {
      const std::string at = "model.layers." + std::to_string(l) + ".", self = at + "self_attn.";
      const Tensor u = rms_norm(x, at + "input_layernorm", eps);
      Tensor q = heads(linear(u, self + "q_proj"), h), k = heads(linear(u, self + "k_proj"), g);
      if (kind == "qwen3") {
        q = rms_norm(q, self + "q_norm", eps);
        k = rms_norm(k, self + "k_norm", eps);
      }
      const Tensor v = heads(linear(u, self + "v_proj"), g);
      x = x + linear(attention(rotated(q, f, false), rotated(k, f, false), v, window), self + "o_proj");
      const Tensor m = rms_norm(x, at + "post_attention_layernorm", eps);
      const Tensor gate = linear(m, at + "mlp.gate_proj");
      x = x + linear(gate * gate.sigmoid() * linear(m, at + "mlp.up_proj"), at + "mlp.down_proj");
    }
    const Tensor last = rms_norm(x, "model.norm", eps);
    const bool tied = config_.value("tie_word_embeddings", false);
    return at::matmul(last, at_name(tied ? "model.embed_tokens.weight" : "lm_head.weight").t());
  }

  json config_;
  std::map<std::string, Tensor> w_;
};

Model random_model(const std::string& name) {
  Model m = fresh_model("testdata/models/tiny-" + name + ".json", {}, 5);
  uint64_t seed = 1;
  for (const Parameter& p : m.decoder->parameters()) {
    Tensor t = p.value().detach().clone();
    const bool gain = p.name.find("norm.weight") != std::string::npos;
    fill_normal(Site{.seed = seed++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()), gain ? 1 : 0,
                0.3F);
    p.set(t);
  }
  m.decoder->refresh();
  return m;
}

std::vector<int64_t> some_text(int64_t count) {
  std::vector<int64_t> out;
  for (int64_t t = 0; t < count; ++t) out.push_back((t * t * 5 + t * 3 + 2) % 29);
  return out;
}

class Architecture : public ::testing::TestWithParam<const char*> {};

TEST_P(Architecture, EqualsAPlainComputation) {
  const at::NoGradGuard no_grad;
  const Model m = random_model(GetParam());
  const Reference reference(m);
  m.decoder->to(at::kCPU, at::kDouble, at::kDouble);
  const std::vector<int64_t> text = some_text(40);  // dynamic scaling sets in at 32
  State state = m.initial(1);
  Batch batch;
  batch.ids = at::tensor(text, at::kLong).unsqueeze(0);
  const Tensor found = m.decoder->logits(read(m, batch, state).hidden)[0], expected = reference.logits(text);
  EXPECT_GT(expected.abs().max().item<double>(), 0.5);
  EXPECT_LT((found - expected).abs().max().item<double>(), 1e-9);
}

TEST_P(Architecture, TokenByTokenEqualsAllAtOnce) {
  const at::NoGradGuard no_grad;
  const Model m = random_model(GetParam());
  const Reference reference(m);
  m.decoder->to(at::kCPU, at::kDouble, at::kDouble);
  // Dynamic scaling turns all keys anew beyond the trained length, so that there the two differ by
  // definition.
  const std::vector<int64_t> text = some_text(30);
  State state = m.initial(1);
  const Tensor expected = reference.logits(text);
  for (size_t t = 0; t < text.size(); ++t) {
    Batch batch;
    batch.ids = at::tensor({text[t]}, at::kLong).unsqueeze(0);
    const Tensor found = m.decoder->logits(read(m, batch, state).hidden)[0][0];
    EXPECT_LT((found - expected[static_cast<int64_t>(t)]).abs().max().item<double>(), 1e-9) << t;
  }
}

TEST_P(Architecture, GeneratesWhatThePlainComputationSays) {
  const Model m = random_model(GetParam());
  const Reference reference(m);
  GenerateOptions o;
  o.max_tokens = 12;
  State state = m.initial(2);
  const std::vector<std::vector<int64_t>> prompts = {some_text(9), some_text(17)};
  const std::vector<Completion> all = generate(m, nullptr, prompts, {}, o, 0, state);
  for (size_t r = 0; r < 2; ++r) {
    std::vector<int64_t> text = prompts[r];
    text.insert(text.end(), all[r].ids.begin(), all[r].ids.end());
    const Tensor logprobs = reference.logits(text).log_softmax(-1);
    for (size_t t = 0; t < all[r].ids.size(); ++t) {
      const Tensor line = logprobs[static_cast<int64_t>(prompts[r].size() + t) - 1];
      EXPECT_NEAR(line[all[r].ids[t]].item<double>(), all[r].logprobs[t], 1e-4);
      EXPECT_NEAR(line.max().item<double>(), all[r].logprobs[t], 1e-4);  // greedy
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Architecture,
                         ::testing::Values("llama", "llama3", "llama-dynamic", "mistral", "qwen2", "qwen3",
                                           "gpt2", "landmark-gpt", "newgpt", "opt", "opt-350m", "neox",
                                           "neox-serial"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mneme
