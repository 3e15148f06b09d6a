// Inverted dropout whose mask is a function of where it is used (base/random.h), so it is never stored: the
// backward pass, an activation checkpoint or a replay draws it again, and any number of threads gives the
// same bits.
//
// Row b of x [B, ...] draws from its own key: the site with row + b, or a site of its own. site.position
// counts the elements of the row, so a row that is read in pieces, each with the position where it starts,
// has the mask of the whole.
#pragma once

#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace mneme {

// 0 <= p <= 1, the share that is dropped (to 2^-16). Of p = 0 x itself comes back.
Tensor dropout(const Tensor& x, double p, const Site& site);
Tensor dropout(const Tensor& x, double p, const std::vector<Site>& sites);

// The mask itself, 1 / (1 - p) or 0 in fp32 on the CPU: for references and tests.
Tensor dropout_mask(at::IntArrayRef sizes, double p, const std::vector<Site>& sites);

}  // namespace mneme
