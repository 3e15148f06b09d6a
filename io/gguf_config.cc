#include "io/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace mneme {
namespace {

using nlohmann::json;

constexpr int64_t kMost = int64_t{1} << 31;  // bounds every size read here
constexpr int64_t kMostHeadWidth = int64_t{1} << 16;
constexpr double kPi = 3.14159265358979323846;

struct Llama3Scaling {
  double factor = 8, low = 1, high = 4, original = 8192;
};

double llama3_factor(const Llama3Scaling& s, double theta, int64_t i, int64_t width) {
  const double wavelength =
      2 * kPi * std::pow(theta, static_cast<double>(2 * i) / static_cast<double>(width));
  if (wavelength < s.original / s.high) return 1;
  if (wavelength > s.original / s.low) return s.factor;
  const double smooth = (s.original / wavelength - s.low) / (s.high - s.low);
  return 1 / ((1 - smooth) / s.factor + smooth);
}

Tensor llama3_factors(const Llama3Scaling& s, double theta, int64_t width) {
  Tensor out = at::empty({width / 2}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < width / 2; ++i) to[i] = static_cast<float>(llama3_factor(s, theta, i, width));
  return out;
}

// ---- config.json to GGUF ----

// What HF calls rope_scaling, and rope_parameters in later versions.
std::optional<JsonReader> rope_of(const JsonReader& config) {
  auto rope = config.object_if("rope_parameters");
  return rope ? rope : config.object_if("rope_scaling");
}

double theta_of(const JsonReader& config) {
  const auto rope = config.object_if("rope_parameters");
  return config.number("rope_theta", rope ? rope->number("rope_theta", 10000) : 10000);
}

std::string rope_type_of(const JsonReader& config) {
  const auto rope = rope_of(config);
  return rope ? rope->string("rope_type", rope->string("type", "default")) : "default";
}

int64_t head_width(const JsonReader& config) {
  const int64_t heads = config.integer_in("num_attention_heads", 1, kMost);
  return config.integer_in("head_dim", 1, kMostHeadWidth, config.integer_in("hidden_size", 1, kMost) / heads);
}

void require_activation(const JsonReader& config, const char* key,
                        std::initializer_list<const char*> allowed) {
  const std::string found = config.string(key, *allowed.begin());
  for (const char* name : allowed) {
    if (found == name) return;
  }
  config.fail(key, std::string(*allowed.begin()) + ", the only activation that GGUF knows here,");
}

class Settings {
 public:
  explicit Settings(const std::string& architecture) : prefix_(architecture + ".") {
    out.emplace_back("general.architecture", architecture);
  }
  void add(const char* key, GgufSetting value) { out.emplace_back(prefix_ + key, std::move(value)); }
  void count(const char* key, int64_t value) { add(key, static_cast<uint32_t>(value)); }
  void real(const char* key, double value) { add(key, static_cast<float>(value)); }
  GgufSettings out;

 private:
  std::string prefix_;
};

void llama_settings(const JsonReader& config, Settings& to) {
  require_activation(config, "hidden_act", {"silu"});
  const int64_t heads = config.integer_in("num_attention_heads", 1, kMost);
  const int64_t width = head_width(config);
  to.count("context_length", config.integer_in("max_position_embeddings", 1, kMost));
  to.count("embedding_length", config.integer_in("hidden_size", 1, kMost));
  to.count("block_count", config.integer_in("num_hidden_layers", 1, kMost));
  to.count("feed_forward_length", config.integer_in("intermediate_size", 1, kMost));
  to.count("attention.head_count", heads);
  to.count("attention.head_count_kv", config.integer_in("num_key_value_heads", 1, heads, heads));
  to.real("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps", 1e-6));
  if (config.has("head_dim")) {
    to.count("attention.key_length", width);
    to.count("attention.value_length", width);
  }
  to.count("rope.dimension_count", width);
  to.real("rope.freq_base", theta_of(config));
  to.count("vocab_size", config.integer_in("vocab_size", 1, kMost));
  const bool windowed =
      config.string("model_type") == "mistral" || config.boolean("use_sliding_window", false);
  if (windowed && config.has("sliding_window")) {
    to.count("attention.sliding_window", config.integer_in("sliding_window", 1, kMost));
  }
  const std::string scaling = rope_type_of(config);
  if (scaling == "linear") {
    to.add("rope.scaling.type", std::string("linear"));
    to.real("rope.scaling.factor", rope_of(config)->number("factor"));
  } else if (scaling != "default" && scaling != "llama3") {
    throw Error(Kind::input, "rope scaling '" + scaling + "' cannot be written to GGUF",
                "it knows linear and llama3");
  }
}

void gpt2_settings(const JsonReader& config, Settings& to) {
  require_activation(config, "activation_function", {"gelu_new"});
  const int64_t width = config.integer_in("n_embd", 1, kMost / 4);
  to.count("context_length",
           config.integer_in("n_positions", 1, kMost, config.integer_in("n_ctx", 1, kMost, 1024)));
  to.count("embedding_length", width);
  to.count("block_count", config.integer_in("n_layer", 1, kMost));
  to.count("feed_forward_length", config.integer_in("n_inner", 1, kMost, 4 * width));
  to.count("attention.head_count", config.integer_in("n_head", 1, kMost));
  to.real("attention.layer_norm_epsilon", config.number("layer_norm_epsilon", 1e-5));
}

void neox_settings(const JsonReader& config, Settings& to) {
  require_activation(config, "hidden_act", {"gelu", "gelu_new", "gelu_fast"});
  const auto rope = rope_of(config);
  const double share = config.number("rotary_pct", rope ? rope->number("partial_rotary_factor", 0.25) : 0.25);
  to.count("context_length", config.integer_in("max_position_embeddings", 1, kMost));
  to.count("embedding_length", config.integer_in("hidden_size", 1, kMost));
  to.count("block_count", config.integer_in("num_hidden_layers", 1, kMost));
  to.count("feed_forward_length", config.integer_in("intermediate_size", 1, kMost));
  to.count("rope.dimension_count", static_cast<int64_t>(share * static_cast<double>(head_width(config))));
  to.real("rope.freq_base", config.number("rotary_emb_base", theta_of(config)));
  to.count("attention.head_count", config.integer_in("num_attention_heads", 1, kMost));
  to.add("use_parallel_residual", config.boolean("use_parallel_residual", true));
  to.real("attention.layer_norm_epsilon", config.number("layer_norm_eps", 1e-5));
}

// ---- GGUF to config.json ----

class Keys {
 public:
  explicit Keys(const GgufMetadata& metadata)
      : metadata_(metadata), prefix_(std::string(metadata.text("general.architecture").value_or("")) + ".") {}
  int64_t count(const std::string& key, std::optional<int64_t> fallback = {}) const {
    const auto found = metadata_.integer(prefix_ + key);
    const int64_t value = found ? *found : fallback.value_or(0);
    if (value < 1 || value > kMost) refuse(key, found.has_value());
    return value;
  }
  double real(const std::string& key, std::optional<double> fallback = {}) const {
    const auto found = metadata_.real(prefix_ + key);
    if (!found && !fallback) refuse(key, false);
    return found.value_or(*fallback);
  }
  const GgufMetadata& all() const { return metadata_; }
  std::string name(const std::string& key) const { return prefix_ + key; }

 private:
  [[noreturn]] void refuse(const std::string& key, bool found) const {
    throw Error(Kind::input, metadata_.where() + ": the key '" + prefix_ + key + "' is " +
                                 (found ? "out of range" : "missing"));
  }
  const GgufMetadata& metadata_;
  std::string prefix_;
};

int64_t rows_of(const GgufFile& file, const std::string& name) {
  const std::vector<int64_t>& shape = file.info(name).shape;
  if (shape.size() != 2) throw Error(Kind::input, file.where() + ": tensor '" + name + "' is not a matrix");
  return shape[0];
}

// An fp32 as the shortest decimal that gives it back: 1e-05, not 9.999999747378752e-06.
double shortest(double value) {
  for (int digits = 6; digits <= 9; ++digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (static_cast<float>(std::strtod(text, nullptr)) == static_cast<float>(value))
      return std::strtod(text, nullptr);
  }
  return value;
}

json scaling_of(const GgufFile& file, const Keys& keys, double theta, int64_t width) {
  if (file.contains(kRopeFactors)) {
    const Tensor found = file.tensor(kRopeFactors).to(at::kDouble);
    if (found.dim() == 1 && found.size(0) == width / 2 && width >= 2) {
      for (const double original : {8192.0, 4096.0, 16384.0, 32768.0}) {
        const Llama3Scaling s{shortest(found[-1].item<double>()), 1, 4, original};
        if (!at::allclose(llama3_factors(s, theta, width).to(at::kDouble), found, 1e-3, 1e-4)) continue;
        return {{"rope_type", "llama3"},
                {"factor", s.factor},
                {"low_freq_factor", s.low},
                {"high_freq_factor", s.high},
                {"original_max_position_embeddings", static_cast<int64_t>(original)}};
      }
    }
    throw Error(Kind::input, file.where() + ": its rope factors are not those of Llama 3's scaling",
                "use the safetensors form of this model");
  }
  const std::string type(keys.all().text(keys.name("rope.scaling.type")).value_or("none"));
  if (type == "linear")
    return {{"rope_type", "linear"}, {"factor", shortest(keys.real("rope.scaling.factor"))}};
  if (type != "none")
    throw Error(Kind::input, file.where() + ": rope scaling '" + type + "' is not supported");
  return nullptr;
}

void llama_config(const GgufFile& file, const Keys& keys, json& to) {
  const int64_t hidden = keys.count("embedding_length"), heads = keys.count("attention.head_count");
  const int64_t width = keys.count("attention.key_length",
                                   keys.count("rope.dimension_count", std::max<int64_t>(hidden / heads, 1)));
  const double theta = shortest(keys.real("rope.freq_base", 10000.0));
  to["max_position_embeddings"] = keys.count("context_length");
  to["hidden_size"] = hidden;
  to["num_hidden_layers"] = keys.count("block_count");
  to["intermediate_size"] = keys.count("feed_forward_length");
  to["num_attention_heads"] = heads;
  to["num_key_value_heads"] = keys.count("attention.head_count_kv", heads);
  to["head_dim"] = width;
  to["rms_norm_eps"] = shortest(keys.real("attention.layer_norm_rms_epsilon"));
  to["rope_theta"] = theta;
  to["rope_scaling"] = scaling_of(file, keys, theta, width);
  to["hidden_act"] = "silu";
  to["attention_bias"] = file.contains("blk.0.attn_output.bias");
  to["mlp_bias"] = file.contains("blk.0.ffn_up.bias");
  if (keys.all().find(keys.name("attention.sliding_window")) != nullptr) {
    to["sliding_window"] = keys.count("attention.sliding_window");
    if (to["model_type"] == "llama") {
      to["model_type"] = "mistral";
      to["architectures"] = {"MistralForCausalLM"};
    } else {
      to["use_sliding_window"] = true;
    }
  }
}

void gpt2_config(const Keys& keys, json& to) {
  const int64_t hidden = keys.count("embedding_length"),
                inner = keys.count("feed_forward_length", 4 * hidden);
  to["n_positions"] = to["n_ctx"] = keys.count("context_length");
  to["n_embd"] = hidden;
  to["n_layer"] = keys.count("block_count");
  to["n_head"] = keys.count("attention.head_count");
  to["n_inner"] = inner == 4 * hidden ? json(nullptr) : json(inner);
  to["layer_norm_epsilon"] = shortest(keys.real("attention.layer_norm_epsilon"));
  to["activation_function"] = "gelu_new";
}

void neox_config(const Keys& keys, json& to) {
  const int64_t hidden = keys.count("embedding_length"), heads = keys.count("attention.head_count");
  const int64_t width = std::max<int64_t>(hidden / heads, 1);
  to["max_position_embeddings"] = keys.count("context_length");
  to["hidden_size"] = hidden;
  to["num_hidden_layers"] = keys.count("block_count");
  to["intermediate_size"] = keys.count("feed_forward_length");
  to["num_attention_heads"] = heads;
  to["rotary_pct"] =
      static_cast<double>(keys.count("rope.dimension_count", width)) / static_cast<double>(width);
  to["rotary_emb_base"] = shortest(keys.real("rope.freq_base", 10000.0));
  to["use_parallel_residual"] = keys.all().boolean(keys.name("use_parallel_residual")).value_or(true);
  to["layer_norm_eps"] = shortest(keys.real("attention.layer_norm_epsilon"));
  to["hidden_act"] = "gelu";
}

}  // namespace

std::optional<Tensor> rope_factors_of(const json& config) {
  const JsonReader in(config, "config.json");
  if (rope_type_of(in) != "llama3") return std::nullopt;
  const auto rope = rope_of(in);
  Llama3Scaling s;
  s.factor = rope->number("factor", s.factor);
  s.low = rope->number("low_freq_factor", s.low);
  s.high = rope->number("high_freq_factor", s.high);
  s.original = static_cast<double>(rope->integer("original_max_position_embeddings",
                                                 in.integer("original_max_position_embeddings", 8192)));
  return llama3_factors(s, theta_of(in), head_width(in));
}

GgufSettings gguf_settings_of(const json& config) {
  const JsonReader in(config, "config.json");
  const std::string type = in.string("model_type");
  Settings to(gguf_architecture_of(type).name);
  if (type == "gpt2") {
    gpt2_settings(in, to);
  } else if (type == "gpt_neox") {
    neox_settings(in, to);
  } else {
    llama_settings(in, to);
  }
  return std::move(to.out);
}

GgufHeads heads_of(const json& config) {
  const JsonReader in(config, "config.json");
  const int64_t query = in.integer_in("num_attention_heads", 1, kMost, in.integer_in("n_head", 1, kMost, 1));
  return {query, in.integer_in("num_key_value_heads", 1, query, query)};
}

json hf_config_of(const GgufFile& file) {
  const Keys keys(file.metadata());
  const auto name = file.metadata().text("general.architecture");
  if (!name) throw Error(Kind::input, file.where() + ": the key 'general.architecture' is missing");
  const GgufArchitecture& architecture = gguf_architecture(std::string(*name));
  static const std::map<std::string, const char*> kClasses{{"llama", "LlamaForCausalLM"},
                                                           {"qwen2", "Qwen2ForCausalLM"},
                                                           {"qwen3", "Qwen3ForCausalLM"},
                                                           {"gpt2", "GPT2LMHeadModel"},
                                                           {"gptneox", "GPTNeoXForCausalLM"}};
  json config;
  config["model_type"] = architecture.model_types.front();
  config["architectures"] = {kClasses.at(architecture.name)};
  config["vocab_size"] = rows_of(file, "token_embd.weight");
  config["tie_word_embeddings"] = !file.contains("output.weight");
  const auto token = [&](const char* name) {
    return file.metadata().integer(std::string("tokenizer.ggml.") + name + "_token_id");
  };
  if (const auto id = token("bos")) config["bos_token_id"] = *id;
  if (const auto id = token("padding")) config["pad_token_id"] = *id;
  std::vector<int64_t> ends;  // of the text, of a turn, of a message
  for (const char* name : {"eos", "eot", "eom"}) {
    const auto id = token(name);
    if (id && std::count(ends.begin(), ends.end(), *id) == 0) ends.push_back(*id);
  }
  if (!ends.empty()) config["eos_token_id"] = ends.size() == 1 ? json(ends[0]) : json(ends);
  if (architecture.name == "gpt2") {
    gpt2_config(keys, config);
  } else if (architecture.name == "gptneox") {
    neox_config(keys, config);
  } else {
    llama_config(file, keys, config);
  }
  return config;
}

}  // namespace mneme
