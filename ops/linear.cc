#include "ops/linear.h"

#include <utility>

#include "base/error.h"

namespace mneme {

struct Weight::State {
  Tensor plain;
};

Weight::Weight(Tensor value) : state_(std::make_shared<State>()) {
  MNEME_CHECK(value.defined() && value.dim() == 2, describe(value));
  state_->plain = std::move(value);
}

Tensor Weight::value() const { return state_ ? state_->plain : Tensor(); }
Tensor Weight::rows(const Tensor& ids) const { return at::embedding(value(), ids); }
int64_t Weight::out() const { return state_->plain.size(0); }
int64_t Weight::in() const { return state_->plain.size(1); }
at::ScalarType Weight::dtype() const { return state_->plain.scalar_type(); }
bool Weight::requires_grad() const { return state_->plain.requires_grad(); }
bool Weight::packed() const { return false; }

Weight& Weight::set_requires_grad(bool on) {
  state_->plain.set_requires_grad(on);
  return *this;
}

void Weight::pack() {
  if (!requires_grad()) state_->plain = state_->plain.to(at::kBFloat16);
}

Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
  const auto type = x.scalar_type();
  return at::linear(x, w.value().to(type), bias.defined() ? bias.to(type) : Tensor());
}

}  // namespace mneme
