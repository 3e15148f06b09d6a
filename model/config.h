// What a decoder is made of, as data: one struct that every supported architecture fills from its
// config.json. The decoder (model/decoder.h) reads only this; names of architectures occur in
// model/architectures.cc alone.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/activation.h"
#include "ops/rotary.h"

namespace mneme {

enum class NormKind { layer, rms };
enum class NormPlace { before, after };  // before each branch (pre-norm), or after each residual sum
enum class PositionKind { none, learned, rotary, alibi };
enum class MlpKind { plain, swiglu };  // down(act(up x)), or down(silu(gate x) * up x)
enum class QkvKind {
  separate,
  blocks,
  per_head
};  // three matrices; one [q | k | v]; one [q k v] per head (NeoX)

struct ModelConfig {
  std::string architecture;  // model_type of config.json
  int64_t vocab = 0, width = 0, embed_width = 0, layers = 0, heads = 0, kv_heads = 0, head_width = 0,
          inner = 0;
  int64_t max_positions = 0;  // of the position table, or of the training window for rotary models

  NormKind norm = NormKind::layer;
  NormPlace norm_place = NormPlace::before;
  double norm_eps = 1e-5;
  bool final_norm = true;
  bool shared_norm = false;  // one norm feeds attention and MLP (with parallel_residual)
  bool qk_norm = false;      // RMS norm of each query and key head (Qwen3)

  PositionKind position = PositionKind::none;
  RotaryOptions rotary;
  int64_t position_offset = 0;        // rows to skip in the position table (OPT: 2)
  bool position_counts_mask = false;  // a token's position counts the unmasked tokens before it (OPT, NewGPT)

  QkvKind qkv = QkvKind::separate;
  MlpKind mlp = MlpKind::plain;
  Activation activation = Activation::gelu;  // of a plain MLP
  bool qkv_bias = false, out_bias = false, mlp_bias = false, norm_bias = false, head_bias = false;
  bool parallel_residual = false;
  bool tied_head = false;
  int64_t window = 0;  // sliding window of every attention layer, 0: none

  int64_t bos = -1, pad = -1;
  std::vector<int64_t> eos;

  nlohmann::json original;  // the whole config.json, kept for export

  bool projects_embedding() const { return embed_width != width; }
};

// Reads a config.json. Throws Error{input} naming the key, what was expected and what stands there.
ModelConfig parse_model_config(const nlohmann::json& json);

// Parameters of the decoder without what a memory method adds; tied matrices count once.
int64_t parameter_count(const ModelConfig& config);

}  // namespace mneme
