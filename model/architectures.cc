#include "model/architectures.h"

#include <array>
#include <functional>

#include "base/error.h"
#include "model/config_reader.h"

namespace mneme {

struct Rename {
  const char* ours;
  const char* theirs;
  bool transposed = false;
};

struct Architecture {
  const char* model_type;
  void (*configure)(const ConfigReader&, ModelConfig&);
  const char* root;
  std::vector<Rename> outer;  // parameters outside of layers
  std::string layer;          // "model.layers.{i}."
  std::vector<Rename> inner;  // modules of a layer
};

namespace {

using Json = nlohmann::json;

void read_heads(const ConfigReader& r, ModelConfig& c, const char* heads) {
  c.heads = r.positive(heads);
  c.kv_heads = r.positive_or("num_key_value_heads", c.heads);
  c.head_width = r.positive_or("head_dim", c.width / c.heads);
  r.require(c.heads % c.kv_heads == 0, "num_key_value_heads",
            "a divisor of " + std::to_string(c.heads) + " query heads");
  r.require(r.has("head_dim") || c.width % c.heads == 0, heads,
            "a divisor of the width " + std::to_string(c.width));
}

void read_llama(const ConfigReader& r, ModelConfig& c) {
  c.width = c.embed_width = r.positive("hidden_size");
  c.layers = r.positive("num_hidden_layers");
  read_heads(r, c, "num_attention_heads");
  c.inner = r.positive("intermediate_size");
  c.max_positions = r.positive_or("max_position_embeddings", 2048);
  c.norm = NormKind::rms;
  c.norm_eps = r.number_or("rms_norm_eps", 1e-6);
  c.position = PositionKind::rotary;
  r.rotary(c, c.head_width);
  r.one_of("hidden_act", "silu", {"silu", "swish"});
  c.mlp = MlpKind::swiglu;
  c.qkv_bias = c.out_bias = r.flag_or("attention_bias", false);
  c.mlp_bias = r.flag_or("mlp_bias", false);
  c.tied_head = r.flag_or("tie_word_embeddings", false);
}

void read_mistral(const ConfigReader& r, ModelConfig& c) {
  read_llama(r, c);
  c.window = r.positive_or("sliding_window", 0);
}

void read_qwen2(const ConfigReader& r, ModelConfig& c) {
  read_llama(r, c);
  c.qkv_bias = true;
  c.out_bias = false;
  if (r.flag_or("use_sliding_window", false)) {
    r.require(r.positive_or("max_window_layers", 0) == 0, "max_window_layers",
              "0 (a window in every layer), or use_sliding_window false");
    c.window = r.positive("sliding_window");
  }
}

void read_qwen3(const ConfigReader& r, ModelConfig& c) {
  read_llama(r, c);
  c.head_width = r.positive_or("head_dim", 128);
  r.rotary(c, c.head_width);
  c.qk_norm = true;
  r.require(!r.flag_or("use_sliding_window", false), "use_sliding_window", "false");
}

void read_layer_norm_gpt(const ConfigReader& r, ModelConfig& c) {
  c.width = c.embed_width = r.positive("n_embd");
  c.layers = r.positive("n_layer");
  read_heads(r, c, "n_head");
  c.inner = r.positive_or("n_inner", 4 * c.width);
  c.max_positions = r.positive_or("n_positions", 1024);
  c.norm = NormKind::layer;
  c.norm_eps = r.number_or("layer_norm_epsilon", 1e-5);
}

void read_gpt2(const ConfigReader& r, ModelConfig& c) {
  read_layer_norm_gpt(r, c);
  c.position = PositionKind::learned;
  const std::string act =
      r.one_of("activation_function", "gelu_new", {"gelu_new", "gelu", "relu", "gelu_pytorch_tanh"});
  c.activation = act == "gelu" ? Activation::gelu : act == "relu" ? Activation::relu : Activation::gelu_tanh;
  c.qkv = QkvKind::blocks;
  c.qkv_bias = c.out_bias = c.mlp_bias = c.norm_bias = true;
  c.tied_head = r.flag_or("tie_word_embeddings", true);
  r.require(!r.flag_or("scale_attn_by_inverse_layer_idx", false), "scale_attn_by_inverse_layer_idx", "false");
}

// The rotary GPT that Landmark Attention trains from scratch.
void read_landmark_gpt(const ConfigReader& r, ModelConfig& c) {
  read_layer_norm_gpt(r, c);
  c.position = PositionKind::rotary;
  r.rotary(c, c.head_width);
  c.rotary.interleaved = r.flag_or("rope_interleaved", true);
  r.one_of("activation_function", "gelu", {"gelu"});
  c.activation = Activation::gelu;
  c.qkv = QkvKind::blocks;
  c.qkv_bias = c.out_bias = c.mlp_bias = c.norm_bias = r.flag_or("bias", false);
  c.tied_head = r.flag_or("tie_word_embeddings", true);
}

// LongMem's ALiBi backbone: one norm, attention and MLP in parallel.
void read_newgpt(const ConfigReader& r, ModelConfig& c) {
  read_layer_norm_gpt(r, c);
  r.one_of("mode", "alibi", {"alibi"});
  c.position = PositionKind::alibi;
  c.position_counts_mask = true;
  c.norm_eps = r.number_or("layer_norm_epsilon", 1e-6);
  c.activation = Activation::gelu_tanh;
  c.mlp_bias = c.norm_bias = true;
  c.parallel_residual = c.shared_norm = true;
  c.tied_head = r.flag_or("tie_word_embeddings", false);
  c.head_bias = !c.tied_head && r.flag_or("lm_head_bias", true);
}

void read_opt(const ConfigReader& r, ModelConfig& c) {
  c.width = r.positive("hidden_size");
  c.embed_width = r.positive_or("word_embed_proj_dim", c.width);
  c.layers = r.positive("num_hidden_layers");
  read_heads(r, c, "num_attention_heads");
  c.inner = r.positive("ffn_dim");
  c.max_positions = r.positive_or("max_position_embeddings", 2048);
  c.norm = NormKind::layer;
  const bool before = r.flag_or("do_layer_norm_before", true);
  c.norm_place = before ? NormPlace::before : NormPlace::after;
  c.final_norm = before && !r.flag_or("_remove_final_layer_norm", false);
  c.position = PositionKind::learned;
  c.position_offset = 2;
  c.position_counts_mask = true;
  const std::string act = r.one_of("activation_function", "relu", {"relu", "gelu"});
  c.activation = act == "relu" ? Activation::relu : Activation::gelu;
  c.norm_bias = true;
  c.qkv_bias = c.out_bias = c.mlp_bias = r.flag_or("enable_bias", true);
  c.tied_head = r.flag_or("tie_word_embeddings", true);
}

void read_neox(const ConfigReader& r, ModelConfig& c) {
  c.width = c.embed_width = r.positive("hidden_size");
  c.layers = r.positive("num_hidden_layers");
  read_heads(r, c, "num_attention_heads");
  c.inner = r.positive_or("intermediate_size", 4 * c.width);
  c.max_positions = r.positive_or("max_position_embeddings", 2048);
  c.norm = NormKind::layer;
  c.norm_eps = r.number_or("layer_norm_eps", 1e-5);
  c.position = PositionKind::rotary;
  const double share = r.number_or("rotary_pct", 0.25);
  r.rotary(c, static_cast<int64_t>(static_cast<double>(c.head_width) * share));
  c.rotary.theta = r.number_or("rotary_emb_base", c.rotary.theta);
  const std::string act = r.one_of("hidden_act", "gelu", {"gelu", "gelu_new", "gelu_fast", "relu"});
  c.activation = act == "gelu" ? Activation::gelu : act == "relu" ? Activation::relu : Activation::gelu_tanh;
  c.qkv = QkvKind::per_head;
  c.norm_bias = c.mlp_bias = true;
  c.qkv_bias = c.out_bias = r.flag_or("attention_bias", true);
  c.parallel_residual = r.flag_or("use_parallel_residual", true);
  c.tied_head = r.flag_or("tie_word_embeddings", false);
}

const std::vector<Rename> kLlamaOuter = {
    {"embedding", "model.embed_tokens.weight"}, {"final_norm", "model.norm"}, {"head", "lm_head"}};
const std::vector<Rename> kLlamaInner = {{"attention_norm", "input_layernorm"},
                                         {"mlp_norm", "post_attention_layernorm"},
                                         {"q", "self_attn.q_proj"},
                                         {"k", "self_attn.k_proj"},
                                         {"v", "self_attn.v_proj"},
                                         {"q_norm", "self_attn.q_norm"},
                                         {"k_norm", "self_attn.k_norm"},
                                         {"out", "self_attn.o_proj"},
                                         {"gate", "mlp.gate_proj"},
                                         {"up", "mlp.up_proj"},
                                         {"down", "mlp.down_proj"}};
const std::vector<Rename> kGptOuter = {{"embedding", "transformer.wte.weight"},
                                       {"position_table", "transformer.wpe.weight"},
                                       {"final_norm", "transformer.ln_f"},
                                       {"head", "lm_head"}};
const std::vector<Rename> kGpt2Inner = {{"attention_norm", "ln_1"},   {"mlp_norm", "ln_2"},
                                        {"qkv", "attn.c_attn", true}, {"out", "attn.c_proj", true},
                                        {"up", "mlp.c_fc", true},     {"down", "mlp.c_proj", true}};
const std::vector<Rename> kLandmarkInner = {{"attention_norm", "ln_1"}, {"mlp_norm", "ln_2"},
                                            {"qkv", "attn.c_attn"},     {"out", "attn.c_proj"},
                                            {"up", "mlp.c_fc"},         {"down", "mlp.c_proj"}};
const std::vector<Rename> kNewGptInner = {
    {"attention_norm", "ln_1"}, {"q", "attn.q_proj"}, {"k", "attn.k_proj"},  {"v", "attn.v_proj"},
    {"out", "attn.out_proj"},   {"up", "mlp.fc_in"},  {"down", "mlp.fc_out"}};
const std::vector<Rename> kOptOuter = {{"embedding", "model.decoder.embed_tokens.weight"},
                                       {"position_table", "model.decoder.embed_positions.weight"},
                                       {"project_in", "model.decoder.project_in"},
                                       {"project_out", "model.decoder.project_out"},
                                       {"final_norm", "model.decoder.final_layer_norm"},
                                       {"head", "lm_head"}};
const std::vector<Rename> kOptInner = {{"attention_norm", "self_attn_layer_norm"},
                                       {"mlp_norm", "final_layer_norm"},
                                       {"q", "self_attn.q_proj"},
                                       {"k", "self_attn.k_proj"},
                                       {"v", "self_attn.v_proj"},
                                       {"out", "self_attn.out_proj"},
                                       {"up", "fc1"},
                                       {"down", "fc2"}};
const std::vector<Rename> kNeoxOuter = {{"embedding", "gpt_neox.embed_in.weight"},
                                        {"final_norm", "gpt_neox.final_layer_norm"},
                                        {"head", "embed_out"}};
const std::vector<Rename> kNeoxInner = {
    {"attention_norm", "input_layernorm"}, {"mlp_norm", "post_attention_layernorm"},
    {"qkv", "attention.query_key_value"},  {"out", "attention.dense"},
    {"up", "mlp.dense_h_to_4h"},           {"down", "mlp.dense_4h_to_h"}};

const std::vector<Architecture>& table() {
  static const std::vector<Architecture> rows = {
      {"llama", read_llama, "model.", kLlamaOuter, "model.layers.{i}.", kLlamaInner},
      {"mistral", read_mistral, "model.", kLlamaOuter, "model.layers.{i}.", kLlamaInner},
      {"qwen2", read_qwen2, "model.", kLlamaOuter, "model.layers.{i}.", kLlamaInner},
      {"qwen3", read_qwen3, "model.", kLlamaOuter, "model.layers.{i}.", kLlamaInner},
      {"llama_with_landmark", read_llama, "model.", kLlamaOuter, "model.layers.{i}.", kLlamaInner},
      {"gpt2", read_gpt2, "transformer.", kGptOuter, "transformer.h.{i}.", kGpt2Inner},
      {"opt", read_opt, "model.", kOptOuter, "model.decoder.layers.{i}.", kOptInner},
      {"gpt_neox", read_neox, "gpt_neox.", kNeoxOuter, "gpt_neox.layers.{i}.", kNeoxInner},
      {"landmark_gpt", read_landmark_gpt, "transformer.", kGptOuter, "transformer.h.{i}.", kLandmarkInner},
      {"newgpt", read_newgpt, "transformer.", kGptOuter, "transformer.h.{i}.", kNewGptInner},
  };
  return rows;
}

const Architecture& find(const std::string& name) {
  for (const Architecture& a : table()) {
    if (name == a.model_type) return a;
  }
  std::string known;
  for (const Architecture& a : table()) known += (known.empty() ? "" : ", ") + std::string(a.model_type);
  throw Error(Kind::input,
              "config.json: model_type is '" + name + "', which is no architecture that mneme knows",
              "known are " + known);
}

}  // namespace

ModelConfig parse_model_config(const Json& json) {
  const ConfigReader reader(json);
  ModelConfig c;
  c.architecture = reader.text("model_type");
  const Architecture& a = find(c.architecture);
  c.vocab = reader.positive("vocab_size");
  reader.token_ids(c);
  a.configure(reader, c);
  reader.limits(c);
  c.original = json;
  return c;
}

std::string without_leaf(const std::string& name) { return name.substr(0, name.rfind('.')); }

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& a : table()) names.emplace_back(a.model_type);
  return names;
}

NameMap::NameMap(const ModelConfig& config)
    : architecture_(&find(config.architecture)), root_(architecture_->root) {}

FileName NameMap::file_name(const std::string& ours) const {
  std::string prefix, rest = ours;
  const std::vector<Rename>* table = &architecture_->outer;
  if (ours.rfind("layers.", 0) == 0) {
    const size_t dot = ours.find('.', 7);
    prefix = architecture_->layer;
    prefix.replace(prefix.find("{i}"), 3, ours.substr(7, dot - 7));
    rest = ours.substr(dot + 1);
    table = &architecture_->inner;
  }
  const size_t dot = rest.rfind('.');
  const std::string module = rest.substr(0, dot);
  const std::string leaf = dot == std::string::npos ? "" : rest.substr(dot);
  for (const Rename& r : *table) {
    if (module == r.ours) return {prefix + r.theirs + leaf, r.transposed && leaf == ".weight"};
  }
  MNEME_CHECK(false, "no file name for " + ours);
}

bool NameMap::ignorable(const std::string& name) const {
  for (const char* tail : {".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
                           "rotary_emb.inv_freq", "transformer.wpe.freqs"}) {
    const std::string end = tail;
    if (name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0)
      return true;
  }
  return false;
}

}  // namespace mneme
