// One decoder for every architecture, described by ModelConfig. It knows no memory: it takes embeddings, runs
// layer by layer, and hands unrotated queries, keys and values to the attention that the caller supplies.
//
//   embed:   ids -> vectors of the embedding width
//   begin:   project_in, + learned positions
//   layer:   x + attention(norm x), x + mlp(norm x), in the order that the config says
//   finish:  final norm, project_out: the vectors that the head multiplies
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/linear.h"

namespace mneme {

// Attention, supplied from outside: q [B, T, H, K], k and v [B, T, G, K], nothing rotated -> [B, T, H, K].
using Attend = std::function<Tensor(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v)>;

struct Norm {
  Tensor weight, bias;  // [D]; bias undefined for RMS norms and bias-free layer norms
};

struct Layer {
  Norm attention_norm, mlp_norm;
  Norm q_norm, k_norm;       // [K], Qwen3
  Linear q, k, v, qkv, out;  // either q, k, v or qkv
  Linear gate, up, down;     // gate only for SwiGLU
};

// A residual stream whose last branch has not been added yet, so that sum and norm are one pass over memory.
struct Stream {
  Tensor x;       // [B, T, D]
  Tensor branch;  // [B, T, D] or undefined
  Tensor value() const { return branch.defined() ? x + branch : x; }
};

// A named parameter, as the decoder calls it ("layers.3.q.weight"); `weight` or `tensor` points at it.
struct Parameter {
  std::string name;
  Weight* weight = nullptr;
  Tensor* tensor = nullptr;
  std::vector<int64_t> shape;
  bool matrix = false;  // a matrix of a linear layer (weight decay, LoRA targets)

  Tensor value() const { return weight ? weight->value() : *tensor; }
  bool defined() const { return weight ? weight->defined() : tensor->defined(); }
  void set(const Tensor& t) const {
    if (weight) {
      *weight = Weight(t);
    } else {
      *tensor = t;
    }
  }
};

class Decoder {
 public:
  explicit Decoder(ModelConfig config);

  const ModelConfig& config() const { return config_; }
  const RotaryTable& rotary() const { return *rotary_; }  // of rotary models only
  const Tensor& alibi_slopes() const { return slopes_; }  // fp32 [H], undefined unless the config says ALiBi
  at::ScalarType dtype() const { return dtype_; }         // of activations
  at::Device device() const { return device_; }

  Tensor embed(const Tensor& ids) const;                         // [..] -> [.., E]
  Stream begin(const Tensor& x, const Tensor& positions) const;  // [B, T, E], [B, T] -> stream of width D
  Stream layer(int64_t l, Stream s, const Attend& attend, const Draws* draws) const;
  Tensor finish(const Stream& s) const;  // -> [B, T, E]
  Tensor run(const Tensor& x, const Tensor& positions, const Attend& attend,
             const Draws* draws = nullptr) const;
  Tensor logits(const Tensor& hidden) const;  // [.., E] -> [.., V] fp32 or fp64

  // The matrix and bias of the head, for the fused loss.
  const Weight& head() const { return config_.tied_head ? tied_ : head_.weight; }
  const Tensor& head_bias() const { return head_.bias; }

  // Every parameter with its shape, in a fixed order. Pointers stay valid as long as the decoder does.
  std::vector<Parameter> parameters();

  // Random weights of the architecture's own recipe (std 0.02, residual projections scaled), from a seed.
  void initialise(uint64_t seed);
  // Converts every parameter; `activations` is the type that the layers compute in.
  void to(at::Device device, at::ScalarType weights, at::ScalarType activations);
  // Inference: matrices into the kernels' layout. Nothing may be trained or exported cheaply afterwards.
  void pack();
  // To be called after parameters were set or changed in place by others: renews what is derived from them.
  void refresh();

  // Training: keep only the inputs of each layer's two halves and the attention's own tensors for the
  // backward pass, and compute the rest of the layer again there.
  bool recompute = false;

  Tensor embedding;                    // [V, E]; gone when a tied head was packed, which then serves both
  std::optional<Lora> embedding_lora;  // a [r, V], b [E, r]
  Tensor position_table;               // [max_positions + offset, D]
  Linear project_in, project_out;
  std::vector<Layer> layers;
  Norm final_norm;

 private:
  Tensor normed(const Norm& n, const Tensor& x) const;
  Tensor branch_norm(const Norm& n, Stream& s) const;  // adds the pending branch to s.x and norms the sum
  // A layer in two parts, around the attention. What the first leaves: the stream (and its norm, where the
  // MLP shares it), queries, keys and values.
  struct Attending {
    Tensor x, shared, q, k, v;
  };
  Attending before_attention(int64_t l, Stream s, const Draws* draws) const;
  Stream after_attention(int64_t l, const Tensor& x, const Tensor& shared, const Tensor& mixed,
                         const Draws* draws) const;
  Stream recomputed_layer(int64_t l, const Stream& s, const Attend& attend, const Draws* draws) const;
  Tensor mlp(int64_t l, const Tensor& x, const Draws* draws) const;

  ModelConfig config_;
  std::optional<RotaryTable> rotary_;
  Tensor slopes_;
  Linear head_;
  Weight tied_;
  at::ScalarType dtype_ = at::kFloat;
  at::Device device_ = at::kCPU;
};

}  // namespace mneme
