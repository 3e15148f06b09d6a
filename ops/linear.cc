#include "ops/linear.h"

#include <utility>

#include "base/error.h"
#include "ops/linear_autograd.h"
#include "ops/linear_state.h"
#include "ops/sgemm.h"

namespace mneme {
namespace {

int64_t version_of(const Tensor& t) { return t.is_inference() ? 0 : static_cast<int64_t>(t._version()); }

// Sizes are kept by libtorch as vectors; this is the one place that rebuilds [..., N].
Tensor with_last(const Tensor& y, const Tensor& x, int64_t n) {
  if (x.dim() == 2) return y;
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = n;
  return y.view(sizes);
}

Tensor linear_by_libtorch(const Tensor& x, const Weight& w, const Tensor& bias) {
  const at::ScalarType type = x.scalar_type();
  if (type == at::kHalf && x.device().is_cpu()) {  // neither we nor libtorch have half products on the CPU
    return linear(x.to(at::kFloat), w, bias).to(at::kHalf);
  }
  return at::linear(x, w.value().to(type), bias.defined() ? bias.to(type) : Tensor());
}

}  // namespace

Tensor packable(const Tensor& w) {
  const at::ScalarType type = w.scalar_type();
  return type == at::kBFloat16 || type == at::kFloat ? w : w.to(at::kFloat);
}

Tensor as_rows(const Tensor& x) {
  const Tensor rows =
      x.dim() == 2 ? x : x.reshape({x.numel() / std::max<int64_t>(1, x.size(-1)), x.size(-1)});
  return rows.stride(1) == 1 || rows.size(1) <= 1 ? rows : rows.contiguous();
}

bool Weight::State::current(const Copy& copy) const {
  if (!copy.packed) return false;
  return !plain.defined() || (copy.version == version_of(plain) && copy.data == plain.data_ptr());
}

void Weight::State::renew(Copy& copy, Packed packed) const {
  copy = {std::move(packed), plain.defined() ? version_of(plain) : -1,
          plain.defined() ? plain.data_ptr() : nullptr};
}

Weight::State::Packed Weight::State::by_rows() {
  const std::lock_guard<std::mutex> hold(mutex);
  if (!current(rows)) renew(rows, gemm::PackedMatrix::of_rows(packable(plain)));
  return rows.packed;
}

Weight::State::Packed Weight::State::by_columns() {
  const std::lock_guard<std::mutex> hold(mutex);
  if (!current(columns)) {
    renew(columns, gemm::PackedMatrix::of_columns(plain.defined() ? packable(plain) : rows.packed->unpack()));
  }
  return columns.packed;
}

Weight::Weight(Tensor value) {
  MNEME_CHECK(value.defined() && value.dim() == 2 && at::isFloatingType(value.scalar_type()),
              describe(value));
  state_ = std::make_shared<State>(std::move(value));
}

Tensor Weight::value() const {
  if (!state_) return {};
  return state_->plain.defined() ? state_->plain : state_->rows.packed->unpack();
}

Tensor Weight::rows(const Tensor& ids) const {
  if (state_->plain.defined()) return at::embedding(state_->plain, ids);
  std::vector<int64_t> sizes = ids.sizes().vec();
  sizes.push_back(in());
  return state_->rows.packed->rows(ids.reshape({-1}).to(at::kLong).contiguous()).view(sizes);
}

int64_t Weight::out() const { return packed() ? state_->rows.packed->columns() : state_->plain.size(0); }
int64_t Weight::in() const { return packed() ? state_->rows.packed->depth() : state_->plain.size(1); }
at::ScalarType Weight::dtype() const { return packed() ? at::kBFloat16 : state_->plain.scalar_type(); }
bool Weight::requires_grad() const { return !packed() && state_->plain.requires_grad(); }
bool Weight::packed() const { return !state_->plain.defined(); }

Weight& Weight::set_requires_grad(bool on) {
  MNEME_CHECK(!packed() || !on, "a packed weight cannot be trained");
  if (!packed()) state_->plain.set_requires_grad(on);
  return *this;
}

void Weight::pack() {
  if (packed() || requires_grad() || !state_->plain.device().is_cpu()) return;
  state_->by_rows();
  const std::lock_guard<std::mutex> hold(state_->mutex);
  state_->plain.reset();
}

Tensor linear_forward(const Tensor& x, const Weight& w, const Tensor& bias) {
  const Tensor rows = as_rows(x);
  if (x.scalar_type() == at::kFloat) {
    const Tensor row = bias.defined() ? bias.detach().to(at::kFloat) : Tensor();
    return with_last(matrix_product(rows.detach(), w.value().detach().to(at::kFloat).t(), row), x, w.out());
  }
  Tensor wide = bias;
  if (bias.defined() && bias.scalar_type() != at::kBFloat16) wide = bias.to(at::kFloat);
  return with_last(gemm::product(rows, *w.state()->by_rows(), wide), x, w.out());
}

Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
  MNEME_CHECK(x.dim() >= 1 && x.size(-1) == w.in(),
              describe(x) + " against [" + std::to_string(w.out()) + ", " + std::to_string(w.in()) + "]");
  const bool ours = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat;
  if (!ours || !x.device().is_cpu()) return linear_by_libtorch(x, w, bias);
  const bool wants = x.requires_grad() || w.requires_grad() || (bias.defined() && bias.requires_grad());
  if (wants && at::GradMode::is_enabled()) return linear_with_grad(x, w, bias);
  return linear_forward(x, w, bias);
}

}  // namespace mneme
