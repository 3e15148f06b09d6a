// The rules of comparison of a reference case.
#include <cmath>

#include "base/error.h"
#include "base/glob.h"
#include "verify/golden_case.h"

namespace mneme {
namespace {

// Where the rule's mask says that the tensor counts, in the tensor's shape; undefined: everywhere.
Tensor counted(const GoldenCase& golden, const Results& results, const std::string& name,
               const OutputRule& rule, const Tensor& expected) {
  if (rule.mask.empty()) return {};
  std::string mask_name = rule.mask;
  if (const size_t star = mask_name.find('*'); star != std::string::npos) {
    mask_name.replace(star, 1, glob_match(rule.match, name).value_or(""));
  }
  Tensor mask = golden.any(mask_name);
  if (!mask.defined()) return {};
  mask = mask.is_floating_point() ? mask == 0 : mask != 0;
  if (mask.dim() == expected.dim() && mask.dim() != 2) return mask.expand_as(expected);
  if (mask.dim() != 2 || expected.dim() <= rule.axis) return {};
  const int64_t width = expected.size(rule.axis);
  if (width < mask.size(1)) {
    int64_t begin = mask.size(1) - width;
    if (name.rfind("seg", 0) == 0) {  // the positions of segment i
      begin = 0;
      const int64_t segment = std::stoll(name.substr(3));
      for (int64_t i = 0; i < segment; ++i) {
        const std::string ids = "seg" + std::to_string(i) + ".input_ids";
        const auto found = results.tensors.find(ids);  // a case need not hold them
        if (golden.expects(ids)) {
          begin += golden.expected_shape(ids).at(1);
        } else if (found != results.tensors.end()) {
          begin += found->second.size(1);
        }
      }
      begin = std::min(begin, mask.size(1));
    }
    mask = mask.narrow(1, begin, std::min(width, mask.size(1) - begin));
  }
  if (mask.size(1) != width && mask.size(1) != 1) {
    throw Error(Kind::input, golden.folder() + ": the mask '" + mask_name + "' does not fit '" + name +
                                 "', " + describe(expected));
  }
  std::vector<int64_t> shape(static_cast<size_t>(expected.dim()), 1);
  shape[0] = mask.size(0);
  shape[static_cast<size_t>(rule.axis)] = mask.size(1);
  return mask.reshape(shape).expand_as(expected);
}

Tensor steady(const OutputRule& rule, const std::vector<Tensor>& gradients, const Tensor& expected) {
  Tensor ok = at::ones(expected.sizes(), at::kBool);
  for (const Tensor& g : gradients) {
    const Tensor size = g.to(at::kDouble).abs();
    ok = ok.logical_and((size == 0).logical_or(size >= *rule.grad_above));
  }
  return ok;
}

Comparison compare_values(const nlohmann::json& expected, const OutputRule& rule, const nlohmann::json& found,
                          Comparison c) {
  if (rule.exact) {
    c.ok = expected == found;
    if (!c.ok) c.note = "expected " + expected.dump().substr(0, 80) + ", found " + found.dump().substr(0, 80);
    return c;
  }
  const auto flat = [](const nlohmann::json& j) {
    std::vector<double> out;
    const nlohmann::json leaves = j.flatten();
    for (const auto& [key, value] : leaves.items())
      out.push_back(value.is_number() ? value.get<double>() : NAN);
    return out;
  };
  const std::vector<double> a = flat(expected), b = flat(found);
  c.ok = a.size() == b.size();
  if (!c.ok) c.note = std::to_string(a.size()) + " numbers expected, " + std::to_string(b.size()) + " found";
  for (size_t i = 0; c.ok && i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]), allowed = rule.atol + rule.rtol * std::abs(a[i]);
    c.error = std::max(c.error, error);
    c.share = std::max(c.share, error / std::max(allowed, 1e-300));
    if (!(error <= allowed)) {
      c.ok = false;
      c.note = "number " + std::to_string(i) + ": expected " + std::to_string(a[i]) + ", found " +
               std::to_string(b[i]);
    }
  }
  return c;
}

nlohmann::json document_value(const GoldenCase& golden, const std::string& name) {
  const nlohmann::json& d = golden.document();
  if (d.is_array()) {
    nlohmann::json all = nlohmann::json::array();
    for (const auto& element : d) all.push_back(element.value(name, nlohmann::json()));
    return all;
  }
  const nlohmann::json* at = &d;
  size_t begin = 0;
  while (true) {  // keys may hold dots themselves: take the longest that is there
    size_t end = name.size();
    while (end > begin && !at->contains(name.substr(begin, end - begin))) {
      const size_t dot = name.rfind('.', end - 1);
      end = dot == std::string::npos || dot < begin ? begin : dot;
    }
    MNEME_CHECK(end > begin, name);
    at = &at->at(name.substr(begin, end - begin));
    if (end == name.size()) return *at;
    begin = end + 1;
  }
}

}  // namespace

Comparison compare(const GoldenCase& golden, const std::string& name, const OutputRule& rule,
                   const Results& results) {
  Comparison c;
  c.name = name;
  if (golden.is_document() && !golden.any(name).defined()) {
    const auto found = results.values.find(name);
    if (found == results.values.end()) {
      c.note = "nothing was computed";
      return c;
    }
    return compare_values(document_value(golden, name), rule, found->second, c);
  }
  const auto found = results.tensors.find(name);
  if (found == results.tensors.end() || !found->second.defined()) {
    c.note = "nothing was computed";
    return c;
  }
  Tensor expected = golden.any(name), result = found->second.detach().to(at::kCPU);
  if (result.sizes() != expected.sizes()) {
    c.note = "expected " + describe(expected) + ", found " + describe(result);
    return c;
  }
  const bool small = expected.scalar_type() == at::kBFloat16 || expected.scalar_type() == at::kHalf;
  if (small && result.scalar_type() != expected.scalar_type()) {
    c.note = "expected a " + dtype_name(expected.scalar_type()) + " result, found " +
             dtype_name(result.scalar_type());
    return c;
  }
  const Tensor mask = counted(golden, results, name, rule, expected);
  const bool real = at::isFloatingType(expected.scalar_type()) || at::isFloatingType(result.scalar_type());
  const at::ScalarType wide = real ? at::kDouble : at::kLong;
  expected = expected.to(wide);
  result = result.to(wide);
  if (rule.unordered && expected.dim() > 0) {
    expected = std::get<0>(expected.sort(-1));
    result = std::get<0>(result.sort(-1));
  }
  Tensor counts = mask.defined() ? mask : at::ones(expected.sizes(), at::kBool);
  if (rule.grad_above) {
    const auto gradients = results.gradients.find(name);
    if (gradients != results.gradients.end())
      counts = counts.logical_and(steady(rule, gradients->second, expected));
  }
  const Tensor same = (expected == result).masked_select(counts);  // infinities and long integers, too
  const Tensor a = expected.masked_select(counts).to(at::kDouble),
               b = result.masked_select(counts).to(at::kDouble);
  if (a.numel() == 0) {
    c.ok = true;
    c.note = "nothing counts";
    return c;
  }
  const Tensor error = (a - b).abs().nan_to_num(INFINITY, INFINITY, INFINITY).masked_fill(same, 0);
  const Tensor whole = expected.to(at::kDouble).abs();
  const Tensor scale = rule.scale_max ? whole.max().expand_as(a) : a.abs();
  const Tensor allowed = scale * rule.rtol + rule.atol;
  c.error = error.max().item<double>();
  c.ok = rule.exact ? same.all().item<bool>() : (error <= allowed).all().item<bool>();
  c.share = rule.exact ? (c.ok ? 0 : INFINITY) : (error / allowed.clamp_min(1e-300)).max().item<double>();
  if (!c.ok) {
    const Tensor off = rule.exact ? same.logical_not().to(at::kDouble) : error - allowed;
    const int64_t at = off.argmax().item<int64_t>();
    c.note = "entry " + std::to_string(at) + " of those that count: expected " +
             std::to_string(a[at].item<double>()) + ", found " + std::to_string(b[at].item<double>());
  }
  return c;
}

}  // namespace mneme
