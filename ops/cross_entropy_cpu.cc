#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/cross_entropy_impl.h"
#include "ops/cross_entropy_kernels.h"
#include "ops/gemm.h"
#include "ops/gemm_memory.h"
#include "ops/linear_state.h"

namespace mneme {
namespace {

using gemm::Bf16;

Tensor wide_bias(const Tensor& bias) {
  return bias.defined() ? bias.detach().to(at::kFloat).contiguous() : Tensor();
}

const float* bias_at(const Tensor& bias, int64_t column) {
  return bias.defined() ? bias.data_ptr<float>() + column : nullptr;
}

// The logits of the forward pass: sums of exponentials by row, and the target's logit.
class Fold : public gemm::Sink {
 public:
  Fold(const Tensor& targets, const Tensor& bias)
      : kernel_(cross_entropy_kernels()),
        rows_(targets.size(0)),
        targets_(targets.data_ptr<int64_t>()),
        bias_(bias),
        picked_(rows_),
        states_(static_cast<size_t>(gemm::max_threads() * rows_ * kFoldState)) {
    for (size_t i = 0; i < states_.size(); i += kFoldState) {
      std::fill_n(states_.begin() + static_cast<std::ptrdiff_t>(i), kFoldLanes, kFoldLowest);
    }
  }

  void take(const float* c, int64_t row, int64_t column, int64_t rows, int64_t columns, int thread) override {
    const float* bias = bias_at(bias_, column);
    kernel_.fold({c, rows, columns, bias}, states_.data() + (thread * rows_ + row) * kFoldState);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t hit = targets_[row + r] - column;
      if (hit >= 0 && hit < columns) picked_[row + r] = c[r * gemm::kBlock + hit] + (bias ? bias[hit] : 0.0f);
    }
  }

  void finish(LossResult& out) const {
    const int64_t threads = static_cast<int64_t>(states_.size()) / std::max<int64_t>(1, rows_ * kFoldState);
    float *loss = out.loss.data_ptr<float>(), *lse = out.lse.data_ptr<float>();
    bool* correct = out.correct.defined() ? out.correct.data_ptr<bool>() : nullptr;
    for (int64_t row = 0; row < rows_; ++row) {
      float most = kFoldLowest;
      each_lane(row, threads, [&](float lane, float) { most = std::max(most, lane); });
      double sum = 0;
      each_lane(row, threads,
                [&](float lane, float part) { sum += part * std::exp(static_cast<double>(lane - most)); });
      lse[row] = static_cast<float>(most + std::log(sum));
      loss[row] = lse[row] - picked_[row];
      if (correct) correct[row] = picked_[row] >= most;
    }
  }

 private:
  template <class F>
  void each_lane(int64_t row, int64_t threads, F f) const {
    for (int64_t t = 0; t < threads; ++t) {
      const float* state = states_.data() + (t * rows_ + row) * kFoldState;
      for (int64_t i = 0; i < kFoldLanes; ++i) f(state[i], state[kFoldLanes + i]);
    }
  }

  const CrossEntropyKernels& kernel_;
  int64_t rows_;
  const int64_t* targets_;
  Tensor bias_;
  std::vector<float> picked_, states_;
};

// The logits of the backward pass, computed again: their gradients in bf16, for some columns of the
// vocabulary.
class Gradient : public gemm::Sink {
 public:
  Gradient(const Tensor& lse, const Tensor& scale, const Tensor& targets, const Tensor& bias)
      : kernel_(cross_entropy_kernels()),
        lse_(lse.data_ptr<float>()),
        scale_(scale.data_ptr<float>()),
        targets_(targets.data_ptr<int64_t>()),
        bias_(bias) {}

  void into(const Tensor& dz, int64_t first_column) {
    out_ = static_cast<Bf16*>(dz.data_ptr());
    stride_ = dz.stride(0);
    first_ = first_column;
  }

  void take(const float* c, int64_t row, int64_t column, int64_t rows, int64_t columns, int) override {
    kernel_.gradient({c, rows, columns, bias_at(bias_, first_ + column)}, lse_ + row, scale_ + row,
                     targets_ + row, first_ + column, out_ + row * stride_ + column, stride_);
  }

 private:
  const CrossEntropyKernels& kernel_;
  const float *lse_, *scale_;
  const int64_t* targets_;
  Tensor bias_;
  Bf16* out_ = nullptr;
  int64_t stride_ = 0, first_ = 0;
};

// Columns of the vocabulary whose gradients are in memory together: about 16 MB, a multiple of a block. The
// extra block keeps rows from falling on the same cache sets.
int64_t columns_at_once(int64_t rows, int64_t vocabulary) {
  const int64_t fit = (int64_t{1} << 23) / std::max<int64_t>(1, rows) / gemm::kBlock * gemm::kBlock;
  return std::min(std::clamp<int64_t>(fit, 256, 8192), gemm::round_up(vocabulary, gemm::kBlock));
}

}  // namespace

const CrossEntropyKernels& cross_entropy_kernels() {
  if (cpu_level() >= CpuLevel::avx512) return kCrossEntropyAvx512;
  return cpu_level() == CpuLevel::avx2 ? kCrossEntropyAvx2 : kCrossEntropyBaseline;
}

LossResult head_loss_cpu(const HeadLossInput& in, bool want_correct) {
  const int64_t n = in.hidden.size(0);
  LossResult out{at::empty({n}, at::kFloat), at::empty({n}, at::kFloat), {}};
  if (want_correct) out.correct = at::empty({n}, at::kBool);
  Fold fold(in.targets, wide_bias(in.bias));
  const auto packed = in.head.state()->by_rows();
  const Tensor hidden = as_rows(in.hidden);
  gemm::multiply(n, packed->columns(), packed->depth(), gemm::left(hidden), packed->right(), fold);
  fold.finish(out);
  return out;
}

HeadGradients head_loss_backward_cpu(const HeadLossInput& in, const Tensor& lse, const Tensor& scale,
                                     Wanted wanted) {
  const int64_t n = in.hidden.size(0), vocabulary = in.head.out(), width = in.head.in();
  const Tensor bias = wide_bias(in.bias), hidden = as_rows(in.hidden);
  const int64_t step = columns_at_once(n, vocabulary);
  const Tensor room = at::empty({n, step + gemm::kBlock}, at::kBFloat16);
  const auto by_rows = in.head.state()->by_rows();
  HeadGradients out;
  Tensor sum;
  if (wanted.hidden) sum = at::empty({n, width}, at::kFloat);
  if (wanted.head) out.head = at::empty({vocabulary, width}, at::kFloat);
  if (wanted.bias) out.bias = at::empty({vocabulary}, at::kFloat);
  Gradient gradient(lse, scale, in.targets, bias);
  std::unique_ptr<gemm::PackedRows> rows;
  if (wanted.head) rows = std::make_unique<gemm::PackedRows>(hidden);
  for (int64_t column = 0; column < vocabulary; column += step) {
    const int64_t count = std::min(step, vocabulary - column);
    const Tensor dz = room.slice(1, 0, count);
    gradient.into(dz, column);
    gemm::multiply(n, count, width, gemm::left(hidden), by_rows->right(column), gradient);
    if (wanted.hidden) {
      gemm::Store store(sum, {}, column > 0);
      gemm::multiply(n, width, count, gemm::left(dz), in.head.state()->by_columns()->right(0, column), store);
    }
    if (wanted.head) rows->transposed_product(dz, out.head.slice(0, column, column + count));
    if (wanted.bias) out.bias.slice(0, column, column + count).copy_(dz.sum(0, false, at::kFloat));
  }
  if (wanted.hidden) out.hidden = sum.to(at::kBFloat16);
  return out;
}

}  // namespace mneme
