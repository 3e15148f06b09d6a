// Landmark attention: causal attention whose softmax is grouped. A landmark token closes a block of ordinary
// tokens. A query's own block competes with the landmarks of all earlier blocks in one softmax; what an
// earlier block's landmark wins is handed to the tokens of that block by a second softmax inside it:
//
//   w_j = P_j                   j in the query's own block          P: softmax over own tokens and earlier
//   landmarks w_j = P_l(g) p_j            j in an earlier block g             p: softmax over the tokens of g
//   w_j = 0                     landmarks
//
// Blocks are any: of any length, empty, not aligned with anything. A query that is a landmark belongs to the
// block it closes and does not see its own key. A row that sees nothing gives 0. An empty block loses what
// its landmark wins.
//
// landmark_attention runs the fused kernel where there is one (CPU; fp32, bf16) and the reference elsewhere.
#pragma once

#include <optional>

#include "base/random.h"
#include "tensor/tensor.h"

namespace mneme {

// One window of keys; the queries are the last T of the S keys.
struct LandmarkKeys {
  Tensor k, v;         // [B, S, G, K]; query head h reads key head h / (H / G)
  Tensor is_landmark;  // bool [B, S]
  Tensor mask;         // bool [B, S], true = may be seen; undefined = all
};

enum class LandmarkSoftmax {
  grouped,           // the above
  plain,             // one softmax over all visible keys, landmarks among them (not the own block's)
  without_landmark,  // one softmax over the ordinary keys
};

struct LandmarkOptions {
  double scale = 0;  // of the scores; 0 = 1 / sqrt(K)
  LandmarkSoftmax softmax = LandmarkSoftmax::grouped;

  // A padded block whose landmark is not padded: its landmark is ignored; with parity it wins weight and
  // spreads it evenly over the padding, and the scores there receive half the gradient, as the original does.
  bool parity_padded_blocks = false;

  // Inverted dropout of the gates (what each earlier block gets) and, after it, of the weights of all tokens.
  // The same site gives the same draws, in the backward pass too; row b draws at site.row + b, and
  // site.position is not used. `gate_keep` gives the gates' draws instead: column n is the block with n
  // landmarks in front of it.
  double group_dropout = 0, dropout = 0;
  Site site;
  Tensor gate_keep;  // bool [B, H, T, N], N >= the landmarks of any row

  // Context-miss token: a key whose score joins the outer softmax. Controlled landmarks share among
  // themselves only what this key wins, or nothing where that is below the cutoff (evaluation only: no
  // gradient).
  Tensor miss_key;    // [B, G, K]
  Tensor controlled;  // bool [B, S]; undefined = none
  std::optional<double> miss_cutoff;
};

// q [B, T, H, K] -> [B, T, H, K]. `lse` receives the log of the outer sum, [B, H, T], fp32 (fp64 for
// fp64), without gradient; a row that sees nothing has -inf.
Tensor landmark_attention(const Tensor& q, const LandmarkKeys& keys, const LandmarkOptions& options = {},
                          Tensor* lse = nullptr);

}  // namespace mneme
