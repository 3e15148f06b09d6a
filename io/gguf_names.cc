#include "io/gguf_names.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

using Layout = GgufLayout;

const std::vector<GgufRow> kLlamaRows{
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "blk.{}.attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", Layout::rotary_query},
    {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", Layout::rotary_key},
    {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"},
    {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
    {"model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"},
    {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
};

const std::vector<GgufRow> kGpt2Rows{
    {"transformer.wte", "token_embd"},
    {"transformer.wpe", "position_embd"},
    {"transformer.ln_f", "output_norm"},
    {"lm_head", "output"},
    {"transformer.h.{}.ln_1", "blk.{}.attn_norm"},
    {"transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv", Layout::transposed},
    {"transformer.h.{}.attn.c_proj", "blk.{}.attn_output", Layout::transposed},
    {"transformer.h.{}.ln_2", "blk.{}.ffn_norm"},
    {"transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up", Layout::transposed},
    {"transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down", Layout::transposed},
};

const std::vector<GgufRow> kNeoxRows{
    {"gpt_neox.embed_in", "token_embd"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"embed_out", "output"},
    {"gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"},
    {"gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv", Layout::interleaved_qkv},
    {"gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output"},
    {"gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    {"gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"},
    {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"},
};

// Qwen rotates halves in both worlds.
std::vector<GgufRow> qwen_rows(bool head_norms) {
  std::vector<GgufRow> rows = kLlamaRows;
  for (GgufRow& row : rows) row.layout = Layout::same;
  if (head_norms) {
    rows.push_back({"model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"});
    rows.push_back({"model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"});
  }
  return rows;
}

const std::vector<GgufArchitecture>& architectures() {
  static const std::vector<GgufArchitecture> all{
      {"llama", {"llama", "mistral"}, kLlamaRows, {".rotary_emb.inv_freq"}, "model."},
      {"qwen2", {"qwen2"}, qwen_rows(false), {".rotary_emb.inv_freq"}, "model."},
      {"qwen3", {"qwen3"}, qwen_rows(true), {".rotary_emb.inv_freq"}, "model."},
      {"gpt2", {"gpt2"}, kGpt2Rows, {".attn.bias", ".attn.masked_bias"}, "transformer."},
      {"gptneox",
       {"gpt_neox"},
       kNeoxRows,
       {".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"},
       "gpt_neox."},
  };
  return all;
}

[[noreturn]] void unsupported(const std::string& what) {
  std::string list;
  for (const GgufArchitecture& a : architectures()) list += (list.empty() ? "" : ", ") + a.name;
  throw Error(Kind::input, what + " has no GGUF form here",
              "supported: " + list + " (OPT is not in llama.cpp)");
}

// The number that {} stands for, "" where there is none, or nothing where `name` is not of the pattern.
std::optional<std::string> match(const std::string& pattern, const std::string& name) {
  const size_t hole = pattern.find("{}");
  if (hole == std::string::npos) return pattern == name ? std::optional<std::string>("") : std::nullopt;
  const std::string end = pattern.substr(hole + 2);
  if (name.size() <= hole + end.size() || name.compare(0, hole, pattern, 0, hole) != 0 ||
      !name.ends_with(end)) {
    return std::nullopt;
  }
  std::string number = name.substr(hole, name.size() - hole - end.size());
  const bool digits = number.size() < 7 && number.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::optional<std::string>(std::move(number)) : std::nullopt;
}

std::optional<GgufName> translate(const GgufArchitecture& a, const std::string& name,
                                  const char* GgufRow::*from, const char* GgufRow::*to) {
  for (const std::string end : {".weight", ".bias"}) {
    if (!name.ends_with(end)) continue;
    const std::string stem = name.substr(0, name.size() - end.size());
    for (const GgufRow& row : a.rows) {
      const auto number = match(row.*from, stem);
      if (!number) continue;
      std::string other = row.*to;
      if (const size_t hole = other.find("{}"); hole != std::string::npos) other.replace(hole, 2, *number);
      // A Conv1D has nothing to transpose in its bias.
      const bool plain = row.layout == Layout::transposed && end == ".bias";
      return GgufName{other + end, plain ? Layout::same : row.layout};
    }
  }
  return std::nullopt;
}

// Swaps the two factors of each head's rows: [heads * a * b, ...] to [heads * b * a, ...].
Tensor swap_factors(const Tensor& t, int64_t outer, int64_t a, int64_t b) {
  const int64_t rows = t.size(0);
  MNEME_CHECK(outer > 0 && rows == outer * a * b, describe(t));
  return t.reshape({outer, a, b, -1}).transpose(1, 2).reshape(t.sizes());
}

Tensor change_layout(const Tensor& t, Layout layout, const GgufHeads& heads, bool to_gguf) {
  switch (layout) {
    case Layout::same:
      return t;
    case Layout::transposed:
      return t.t().contiguous();
    case Layout::rotary_query:
    case Layout::rotary_key: {
      const int64_t count = layout == Layout::rotary_query ? heads.query : heads.key;
      const int64_t half = t.size(0) / count / 2;
      return to_gguf ? swap_factors(t, count, 2, half) : swap_factors(t, count, half, 2);
    }
    case Layout::interleaved_qkv: {
      const int64_t width = t.size(0) / heads.query / 3;
      const Tensor wide =
          to_gguf ? t.reshape({heads.query, 3, width, -1}) : t.reshape({3, heads.query, width, -1});
      return wide.transpose(0, 1).reshape(t.sizes());
    }
  }
  return t;
}

}  // namespace

const GgufArchitecture& gguf_architecture(const std::string& name) {
  for (const GgufArchitecture& a : architectures()) {
    if (a.name == name) return a;
  }
  unsupported("architecture '" + name + "'");
}

const GgufArchitecture& gguf_architecture_of(const std::string& model_type) {
  for (const GgufArchitecture& a : architectures()) {
    if (std::find(a.model_types.begin(), a.model_types.end(), model_type) != a.model_types.end()) return a;
  }
  unsupported("model_type '" + model_type + "'");
}

std::optional<GgufName> gguf_name(const GgufArchitecture& architecture, const std::string& hf) {
  auto found = translate(architecture, hf, &GgufRow::hf, &GgufRow::gguf);
  return found ? found : translate(architecture, architecture.root + hf, &GgufRow::hf, &GgufRow::gguf);
}

std::optional<GgufName> hf_name(const GgufArchitecture& architecture, const std::string& gguf) {
  return translate(architecture, gguf, &GgufRow::gguf, &GgufRow::hf);
}

bool is_buffer(const GgufArchitecture& architecture, const std::string& hf) {
  return std::any_of(architecture.buffers.begin(), architecture.buffers.end(),
                     [&](const std::string& end) { return hf.ends_with(end); });
}

Tensor to_gguf_layout(const Tensor& t, GgufLayout layout, const GgufHeads& heads) {
  return change_layout(t, layout, heads, true);
}

Tensor to_hf_layout(const Tensor& t, GgufLayout layout, const GgufHeads& heads) {
  return change_layout(t, layout, heads, false);
}

}  // namespace mneme
