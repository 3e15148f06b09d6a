#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/error.h"
#include "ops/dropout.h"
#include "ops/dropout_impl.h"
#include "ops/elementwise.h"

namespace mneme {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// An autograd node keeps integers, not sites.
constexpr size_t kWords = 5;

std::vector<int64_t> packed(const std::vector<Site>& sites) {
  std::vector<int64_t> out;
  out.reserve(sites.size() * kWords);
  for (const Site& s : sites) {
    const uint64_t place = (static_cast<uint64_t>(s.segment) << 32) | (static_cast<uint64_t>(s.layer) << 16) |
                           static_cast<uint64_t>(s.draw);
    for (const uint64_t word : {s.seed, s.step, s.row, place, s.position})
      out.push_back(static_cast<int64_t>(word));
  }
  return out;
}

std::vector<Site> unpacked(const std::vector<int64_t>& words) {
  std::vector<Site> out;
  for (size_t i = 0; i + kWords <= words.size(); i += kWords) {
    const auto word = [&](size_t k) { return static_cast<uint64_t>(words[i + k]); };
    out.push_back({word(0), word(1), word(2), static_cast<uint32_t>(word(3) >> 32),
                   static_cast<uint16_t>(word(3) >> 16), static_cast<Draw>(static_cast<uint16_t>(word(3))),
                   word(4)});
  }
  return out;
}

// The gradient is dropout with the same mask, so it has derivatives of any order.
struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, double p, const std::vector<int64_t>& sites) {
    ctx->saved_data["p"] = p;
    ctx->saved_data["sites"] = sites;
    return dropout_forward(x, p, unpacked(sites));
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& given) {
    const std::vector<Site> sites = unpacked(ctx->saved_data["sites"].toIntVector());
    return {dropout(given[0], ctx->saved_data["p"].toDouble(), sites), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor dropout(const Tensor& x, double p, const std::vector<Site>& sites) {
  MNEME_CHECK(p >= 0 && p <= 1, "p = " + std::to_string(p));
  MNEME_CHECK(x.dim() >= 1 && x.size(0) == static_cast<int64_t>(sites.size()),
              describe(x) + ", " + std::to_string(sites.size()) + " sites");
  if (p == 0) return x;
  if (at::GradMode::is_enabled() && wants_gradient(x)) return DropoutFunction::apply(x, p, packed(sites));
  return dropout_forward(x, p, sites);
}

Tensor dropout(const Tensor& x, double p, const Site& site) {
  MNEME_CHECK(x.dim() >= 1, describe(x));
  std::vector<Site> sites(static_cast<size_t>(x.size(0)), site);
  for (size_t b = 0; b < sites.size(); ++b) sites[b].row += b;
  return dropout(x, p, sites);
}

}  // namespace mneme
