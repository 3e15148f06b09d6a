// Weights published as a difference to a model whose licence forbids to pass it on, as Landmark Attention's
// repository has them: diff = tuned - raw under all of the tuned model's names, in fp32, and beside it
// checksum_psum.txt, the sum of all elements of the tuned model. Rows that the tuned vocabulary has more than
// the raw one count from the mean of the raw rows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/weights.h"

namespace mneme {

// Tensors are made one at a time. Both sources must be kept. Throws Error{input} where names or shapes do not
// fit together; rotary frequencies that `raw` lacks are computed from theta.
std::vector<LazyTensor> weight_difference(const WeightSource& raw, const WeightSource& tuned,
                                          double theta = 10000);
std::vector<LazyTensor> add_weight_difference(const WeightSource& raw, const WeightSource& difference,
                                              double theta = 10000);

// The sum of all elements, in double. Of seven billion fp32 numbers it tells a wrong model from the right
// one, not a wrong bit.
double weight_sum(const WeightSource& weights);
constexpr double kWeightSumTolerance = 1e-2;

// The same on folders. Configuration and tokenizer come from the tuned model and go with the difference.
// Recovering checks the sum (a difference without checksum_psum.txt is the first published one) and leaves
// nothing behind where it does not hold: Error{input}.
void make_weight_difference(const std::string& raw, const std::string& tuned, const std::string& out);
void recover_weights(const std::string& raw, const std::string& difference, const std::string& out,
                     bool check_sum = true);

}  // namespace mneme
