#include "io/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "io/gguf_config.h"
#include "io/safetensors.h"
#include "io/testing.h"
#include "io/weights.h"

namespace mneme {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

struct Model {
  json config;
  NamedTensors tensors;
};

Tensor random(at::IntArrayRef shape) { return at::randn(shape); }

Model llama(const std::string& type, bool biases) {
  Model m;
  m.config = {{"model_type", type},       {"hidden_size", 64},           {"num_hidden_layers", 2},
              {"num_attention_heads", 4}, {"num_key_value_heads", 2},    {"intermediate_size", 96},
              {"vocab_size", 40},         {"rms_norm_eps", 1e-5},        {"max_position_embeddings", 128},
              {"rope_theta", 50000.0},    {"tie_word_embeddings", false}};
  m.tensors = {{"model.embed_tokens.weight", random({40, 64})},
               {"model.norm.weight", random({64})},
               {"lm_head.weight", random({40, 64})}};
  const auto add = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    m.tensors.emplace_back(name + ".weight", random({out, in}));
    if (bias) m.tensors.emplace_back(name + ".bias", random({out}));
  };
  for (int i = 0; i < 2; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "self_attn.q_proj", 64, 64, biases);
    add(layer + "self_attn.k_proj", 32, 64, biases);
    add(layer + "self_attn.v_proj", 32, 64, biases);
    add(layer + "self_attn.o_proj", 64, 64, biases && type == "llama");
    add(layer + "mlp.gate_proj", 96, 64, false);
    add(layer + "mlp.up_proj", 96, 64, false);
    add(layer + "mlp.down_proj", 64, 96, false);
    m.tensors.emplace_back(layer + "input_layernorm.weight", random({64}));
    m.tensors.emplace_back(layer + "post_attention_layernorm.weight", random({64}));
    if (type == "qwen3") {
      m.tensors.emplace_back(layer + "self_attn.q_norm.weight", random({16}));
      m.tensors.emplace_back(layer + "self_attn.k_norm.weight", random({16}));
    }
  }
  return m;
}

Model gpt2() {
  Model m;
  m.config = {{"model_type", "gpt2"},
              {"n_embd", 32},
              {"n_layer", 1},
              {"n_head", 4},
              {"n_positions", 64},
              {"vocab_size", 40},
              {"layer_norm_epsilon", 1e-5}};
  m.tensors = {{"transformer.wte.weight", random({40, 32})},
               {"transformer.wpe.weight", random({64, 32})},
               {"transformer.h.0.attn.c_attn.weight", random({32, 96})},
               {"transformer.h.0.attn.c_attn.bias", random({96})},
               {"transformer.h.0.attn.c_proj.weight", random({32, 32})},
               {"transformer.h.0.attn.c_proj.bias", random({32})},
               {"transformer.h.0.mlp.c_fc.weight", random({32, 128})},
               {"transformer.h.0.mlp.c_fc.bias", random({128})},
               {"transformer.h.0.mlp.c_proj.weight", random({128, 32})},
               {"transformer.h.0.mlp.c_proj.bias", random({32})},
               {"transformer.h.0.ln_1.weight", random({32})},
               {"transformer.h.0.ln_1.bias", random({32})},
               {"transformer.h.0.ln_2.weight", random({32})},
               {"transformer.h.0.ln_2.bias", random({32})},
               {"transformer.ln_f.weight", random({32})},
               {"transformer.ln_f.bias", random({32})}};
  return m;
}

Model neox() {
  Model m;
  m.config = {{"model_type", "gpt_neox"},      {"hidden_size", 32},
              {"num_hidden_layers", 1},        {"num_attention_heads", 4},
              {"intermediate_size", 64},       {"vocab_size", 40},
              {"layer_norm_eps", 1e-5},        {"rotary_pct", 0.25},
              {"max_position_embeddings", 64}, {"rotary_emb_base", 10000},
              {"use_parallel_residual", true}, {"hidden_act", "gelu"},
              {"tie_word_embeddings", false}};
  m.tensors = {{"gpt_neox.embed_in.weight", random({40, 32})}, {"embed_out.weight", random({40, 32})}};
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    m.tensors.emplace_back("gpt_neox." + name + ".weight", random(shape));
    m.tensors.emplace_back("gpt_neox." + name + ".bias", random(shape.slice(0, 1)));
  };
  add("layers.0.attention.query_key_value", {96, 32});
  add("layers.0.attention.dense", {32, 32});
  add("layers.0.mlp.dense_h_to_4h", {64, 32});
  add("layers.0.mlp.dense_4h_to_h", {32, 64});
  add("layers.0.input_layernorm", {32});
  add("layers.0.post_attention_layernorm", {32});
  add("final_layer_norm", {32});
  return m;
}

WeightSource source_of(const TemporaryFolder& folder, const Model& m) {
  write_safetensors(folder / "in.safetensors", m.tensors);
  return WeightSource::open(folder / "in.safetensors");
}

class Exported : public ::testing::TestWithParam<std::string> {
 protected:
  Model model() const {
    if (GetParam() == "gpt2") return gpt2();
    if (GetParam() == "gpt_neox") return neox();
    if (GetParam() == "llama with biases") return llama("llama", true);
    return llama(GetParam(), GetParam() == "qwen2");
  }
};

TEST_P(Exported, ComesBackByteEqualWithItsConfig) {
  TemporaryFolder folder;
  const Model m = model();
  export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::f32);
  const auto back = WeightSource::open(folder / "x.gguf");
  ASSERT_EQ(back.names().size(), m.tensors.size());
  for (const auto& [name, tensor] : m.tensors) EXPECT_TRUE(same_bytes(back.tensor(name), tensor)) << name;
  const json config = hf_config_of(GgufFile::open(folder / "x.gguf"));
  for (const auto& [key, value] : m.config.items()) EXPECT_EQ(config.at(key), value) << key;
}

TEST_P(Exported, QuantisedMatricesStayClose) {
  TemporaryFolder folder;
  const Model m = model();
  export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::q8_0);
  const auto back = WeightSource::open(folder / "x.gguf", {.quantised_as = at::kFloat});
  for (const auto& [name, tensor] : m.tensors) {
    const Tensor found = back.tensor(name).to(at::kFloat);
    EXPECT_EQ(back.info(name).shape, tensor.sizes().vec());
    EXPECT_EQ(back.info(name).dtype, back.tensor(name).scalar_type());
    if (tensor.dim() == 1) {
      EXPECT_TRUE(same_bytes(found, tensor)) << name;
    } else {
      EXPECT_TRUE(at::allclose(found, tensor, 0, 0.03)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, Exported,
                         ::testing::Values("llama", "llama with biases", "qwen2", "qwen3", "gpt2",
                                           "gpt_neox"));

TEST(GgufModel, RotaryRowsAreInterleaved) {
  // Head of width 4: halves (0, 1 | 2, 3) become neighbours (0, 2), (1, 3).
  const Tensor rows = at::arange(8, at::kFloat).view({8, 1});
  const Tensor mixed = to_gguf_layout(rows, GgufLayout::rotary_query, {2, 1});
  EXPECT_TRUE(at::equal(mixed.view(-1), at::tensor({0.F, 2.F, 1.F, 3.F, 4.F, 6.F, 5.F, 7.F})));
  EXPECT_TRUE(at::equal(to_hf_layout(mixed, GgufLayout::rotary_query, {2, 1}), rows));
  // Two heads of width 1: (q0 k0 v0 q1 k1 v1) becomes (q0 q1 k0 k1 v0 v1).
  const Tensor qkv =
      to_gguf_layout(at::arange(6, at::kFloat).view({6, 1}), GgufLayout::interleaved_qkv, {2, 2});
  EXPECT_TRUE(at::equal(qkv.view(-1), at::tensor({0.F, 3.F, 1.F, 4.F, 2.F, 5.F})));
}

TEST(GgufModel, TiedHeadsAndBuffersAreLeftOut) {
  TemporaryFolder folder;
  Model m = llama("llama", false);
  m.config["tie_word_embeddings"] = true;
  m.tensors.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq", random({8}));
  export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::f16);
  const auto file = GgufFile::open(folder / "x.gguf");
  EXPECT_FALSE(file.contains("output.weight"));
  EXPECT_EQ(file.metadata().integer("general.file_type"), 1);
  EXPECT_EQ(file.info("token_embd.weight").type, GgmlType::f16);
  EXPECT_EQ(file.info("output_norm.weight").type, GgmlType::f32);
  EXPECT_EQ(hf_config_of(file).at("tie_word_embeddings"), true);
}

TEST(GgufModel, RopeScalingSurvives) {
  TemporaryFolder folder;
  Model m = llama("llama", false);
  m.config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 32.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  m.config["rope_theta"] = 500000.0;
  export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::f32);
  EXPECT_EQ(hf_config_of(GgufFile::open(folder / "x.gguf")).at("rope_scaling"), m.config["rope_scaling"]);
  EXPECT_EQ(WeightSource::open(folder / "x.gguf").names().size(), m.tensors.size());

  m.config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.5}};
  export_gguf(folder / "y.gguf", source_of(folder, m), m.config, GgmlType::f32);
  EXPECT_EQ(hf_config_of(GgufFile::open(folder / "y.gguf")).at("rope_scaling"),
            (json{{"rope_type", "linear"}, {"factor", 2.5}}));
  m.config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.5}};
  EXPECT_THROW(export_gguf(folder / "z.gguf", source_of(folder, m), m.config, GgmlType::f32), Error);
}

TEST(GgufModel, MistralKeepsItsWindow) {
  TemporaryFolder folder;
  Model m = llama("mistral", false);
  m.config["sliding_window"] = 16;
  export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::bf16);
  const json config = hf_config_of(GgufFile::open(folder / "x.gguf"));
  EXPECT_EQ(config.at("model_type"), "mistral");
  EXPECT_EQ(config.at("sliding_window"), 16);
}

TEST(GgufModel, UnsupportedModelsAreRefused) {
  TemporaryFolder folder;
  Model m = llama("llama", false);
  const auto attempt = [&] {
    try {
      export_gguf(folder / "x.gguf", source_of(folder, m), m.config, GgmlType::f32);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  m.config["model_type"] = "opt";
  EXPECT_THAT(attempt(), HasSubstr("OPT is not in llama.cpp"));
  m.config["model_type"] = "llama";
  m.config["hidden_act"] = "gelu";
  EXPECT_THAT(attempt(), HasSubstr("hidden_act"));
  m.config.erase("hidden_act");
  m.tensors.emplace_back("memory", random({2, 64}));
  EXPECT_THAT(attempt(), HasSubstr("'memory' has no place"));
  m.tensors.back() = {"model.layers.7.self_attn.q_proj.weight", random({7, 64})};
  EXPECT_THAT(attempt(), HasSubstr("does not fit 4 heads"));
}

TEST(GgufModel, HostileFilesAreInputErrors) {
  TemporaryFolder folder;
  const auto refuse = [&](const GgufSettings& settings, const NamedTensors& tensors) {
    std::vector<GgufTensor> list;
    for (const auto& [name, t] : tensors) {
      list.push_back({{name, t.scalar_type(), t.sizes().vec(), [&t = t] { return t; }}, GgmlType::f32});
    }
    write_gguf(folder / "x.gguf", settings, list);
    try {
      WeightSource::open(folder / "x.gguf");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Kind::input);
      return e.message();
    }
    return std::string("accepted");
  };
  const GgufSettings good = gguf_settings_of(llama("llama", false).config);
  const std::pair<std::string, Tensor> embedding{"token_embd.weight", at::ones({40, 64})};
  EXPECT_EQ(refuse(good, {embedding}), "accepted");
  EXPECT_THAT(refuse({}, {embedding}), HasSubstr("general.architecture"));
  EXPECT_THAT(refuse({{"general.architecture", std::string("bert")}}, {embedding}), HasSubstr("'bert'"));
  EXPECT_THAT(refuse({{"general.architecture", std::string("llama")}}, {embedding}), HasSubstr("missing"));
  EXPECT_THAT(refuse(good, {}), HasSubstr("token_embd.weight"));
  EXPECT_THAT(refuse(good, {embedding, {"blk.0.unknown.weight", at::ones({2})}}), HasSubstr("not known"));
  EXPECT_THAT(refuse(good, {embedding, {"blk.0.attn_q.weight", at::ones({9, 4})}}),
              HasSubstr("does not fit"));
  EXPECT_THAT(refuse(good, {embedding, {"blk.0.attn_q.weight", at::scalar_tensor(1.0F)}}),
              HasSubstr("does not fit"));
  EXPECT_THAT(refuse(good, {embedding, {kRopeFactors, at::full({8}, 3.0F)}}), HasSubstr("rope factors"));
  GgufSettings zero = good;
  for (auto& [key, value] : zero) {
    if (key == "llama.attention.head_count") value = uint32_t{0};
  }
  EXPECT_THAT(refuse(zero, {embedding}), HasSubstr("out of range"));
}

TEST(GgufModel, Stories260KRoundTrip) {
  const std::string folder = shared_path("data/models/stories260K");
  if (folder.empty()) GTEST_SKIP() << "no shared data";
  TemporaryFolder out;
  const auto full = WeightSource::open(folder);
  const json config = read_json(folder + "/config.json");
  for (const GgmlType type : {GgmlType::f32, GgmlType::f16, GgmlType::bf16, GgmlType::q8_0}) {
    export_gguf(out / "x.gguf", full, config, type);
    const auto back = WeightSource::open(out / "x.gguf");
    EXPECT_NO_THROW(require_tensors(back, shapes_of(full)));
    if (is_quantised(type)) continue;
    for (const std::string& name : full.names()) {
      const Tensor expected = full.tensor(name);
      const bool vector = expected.dim() == 1;
      EXPECT_TRUE(same_bytes(back.tensor(name), vector ? expected : expected.to(*plain_dtype(type)))) << name;
    }
  }
}

}  // namespace
}  // namespace mneme
