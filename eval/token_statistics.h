// Accuracy and weighted precision, recall and F1 of predicted tokens over label classes, as HMT's evaluation
// reports them (scikit-learn's weighted average: classes are the values that occur on either side, weights
// their share of the labels, 0 for 0/0).
#pragma once

#include "tensor/tensor.h"

namespace mneme {

struct TokenStatistics {
  double accuracy = 0, precision = 0, recall = 0, f1 = 0;
};

TokenStatistics token_statistics(const Tensor& labels, const Tensor& predictions);  // int64, any equal shape

}  // namespace mneme
