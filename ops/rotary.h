// Rotary position embedding: pairs of a head's elements turn by position * frequency.
//
//   RotaryTable  the frequencies of a model; gives the Rotation of any positions, negative ones included
//   Rotation     cos and sin of the angles of some tokens: made once, used by all layers, for queries and
//   keys rotate       x turned by a Rotation; its gradient is the inverse rotation
//
// Angles are computed in double and rounded once. Turning by p and then by q is turning by p + q, so stored
// rotated keys are moved by rotating them again.
//
// Scalings, with the parameters of Hugging Face's rope_scaling: linear divides all frequencies by `factor`;
// llama3 those of long wavelengths, with a smooth passage; dynamic (NTK) enlarges theta with the length of
// the text. A table keeps no record of lengths: the caller passes `length`, the largest position so far plus
// one, from its state, and keeps keys unrotated or accepts that old ones carry the old frequencies. Without
// it the call's own largest position counts, as in transformers' first forward pass. Up to `original_length`
// dynamic changes nothing.
#pragma once

#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

enum class RotaryScaling { none, linear, dynamic, llama3 };

struct RotaryOptions {
  int64_t width = 0;         // R: the first R of a head's K elements turn; even
  bool interleaved = false;  // pairs (2n, 2n+1), else (n, n + R/2)
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::none;
  double factor = 1;
  int64_t original_length = 0;  // dynamic: max_position_embeddings; llama3: original_max_position_embeddings
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
};

struct Rotation {
  Tensor cos, sin;  // [B or 1, T, R/2] fp32, or fp64 for float64 tensors
  bool interleaved = false;
};

class RotaryTable {
 public:
  // Throws Error{input} on values that make no sense.
  explicit RotaryTable(const RotaryOptions& options);
  const RotaryOptions& options() const { return options_; }

  // R/2 of them, radians a position.
  std::vector<double> frequencies(int64_t length = 0) const;

  // positions [B, T], or [T] for all rows alike, int64. `like`: the tensors to be turned (their device; fp64
  // or not).
  Rotation at(const Tensor& positions, const at::TensorOptions& like, int64_t length = 0) const;
  // Row b holds positions starts[b] .. starts[b] + count - 1.
  Rotation run(const std::vector<int64_t>& starts, int64_t count, const at::TensorOptions& like,
               int64_t length = 0) const;

 private:
  struct Cache;
  template <class T>
  Tensor angles(const std::vector<int64_t>& positions, int64_t length) const;
  Rotation rotation(const std::vector<int64_t>& positions, int64_t rows, int64_t count,
                    const at::TensorOptions& like, int64_t length) const;

  RotaryOptions options_;
  std::vector<double> frequencies_;
  std::shared_ptr<Cache> cache_;  // shared by copies; safe to use from several threads
};

// x [B, T, H, K] -> [B, T, H, K] in x's type. x may be a view into a projection: any strides but the last.
Tensor rotate(const Tensor& x, const Rotation& rotation);
Tensor rotate(const Tensor& x, const Tensor& positions, const RotaryTable& table);
Tensor rotate(const Tensor& x, const std::vector<int64_t>& starts, const RotaryTable& table);
// In place, for tensors outside autograd.
void rotate_(const Tensor& x, const Rotation& rotation);

// In plain at:: operations, for every type and device.
Tensor rotate_reference(const Tensor& x, const Rotation& rotation);

}  // namespace mneme
