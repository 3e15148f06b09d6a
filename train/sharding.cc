#include "train/sharding.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "base/error.h"
#include "ops/recompute.h"

namespace mneme {
namespace {

constexpr int64_t kBucketElements = int64_t{1} << 22;  // 16 MB: several of them in a pass, few messages

// Contiguous shares of about equal size.
std::vector<int64_t> choose_owners(const std::vector<Parameter>& trained, int64_t ranks) {
  int64_t total = 0, before = 0;
  for (const Parameter& p : trained) total += p.value().numel();
  std::vector<int64_t> out;
  for (const Parameter& p : trained) {
    const int64_t n = p.value().numel(), middle = before + n / 2;
    out.push_back(std::min(ranks - 1, total > 0 ? middle * ranks / total : 0));
    before += n;
  }
  return out;
}

}  // namespace

// The accumulators of gradients, kept alive because the hooks live in them.
struct Sharding::Hooks {
  std::vector<std::shared_ptr<torch::autograd::Node>> accumulators;
};

Sharding::Sharding(const std::vector<Parameter>& trained, Collectives& ranks)
    : trained_(trained),
      ranks_(ranks),
      owners_(choose_owners(trained, ranks.size())),
      bucket_of_(trained.size()),
      hooks_(std::make_unique<Hooks>()) {
  for (size_t i = trained_.size(); i-- > 0;) add_parameter(i);
  for (size_t i = 0; i < trained_.size(); ++i) {
    auto accumulator = torch::autograd::impl::grad_accumulator(trained_[i].value());
    accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [this, i](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
          if (expecting_) gradient_ready(i);  // throws out of the backward pass
          return outputs;
        }));
    hooks_->accumulators.push_back(std::move(accumulator));
  }
}

Sharding::~Sharding() { expecting_ = false; }

void Sharding::add_parameter(size_t index) {
  const Tensor t = trained_[index].value();
  const bool fits = !buckets_.empty() && buckets_.back().owner == owners_[index] &&
                    buckets_.back().elements + t.numel() <= kBucketElements;
  if (!fits) {
    buckets_.emplace_back();
    buckets_.back().owner = owners_[index];
  }
  MNEME_CHECK(t.scalar_type() == at::kFloat, trained_[index].name + " is " + describe(t));
  buckets_.back().parameters.push_back(index);
  buckets_.back().elements += t.numel();
  bucket_of_[index] = buckets_.size() - 1;
}

std::vector<Parameter> Sharding::owned() const {
  std::vector<Parameter> out;
  for (size_t i = 0; i < trained_.size(); ++i) {
    if (owners_[i] == ranks_.rank()) out.push_back(trained_[i]);
  }
  return out;
}

void Sharding::expect_gradients() {
  for (Bucket& b : buckets_) b.ready = 0;
  ready_.assign(trained_.size(), false);
  expecting_ = true;
}

void Sharding::gradient_ready(size_t parameter) {
  MNEME_CHECK(!ready_[parameter], trained_[parameter].name + ": a gradient after the last one");
  if (!last_gradient()) return;
  ready_[parameter] = true;
  ++buckets_[bucket_of_[parameter]].ready;
  while (next_ < buckets_.size() && buckets_[next_].ready == buckets_[next_].parameters.size()) {
    send(buckets_[next_++]);
    ++sent_early_;
  }
}

void Sharding::send(Bucket& bucket) {
  const at::NoGradGuard no_grad;
  if (!bucket.flat.defined()) bucket.flat = at::empty({bucket.elements}, at::kFloat);
  int64_t at = 0;
  for (const size_t i : bucket.parameters) {
    const Tensor value = trained_[i].value(), grad = value.grad();
    const Tensor place = bucket.flat.narrow(0, at, value.numel());
    grad.defined() ? place.copy_(grad.reshape(-1)) : place.zero_();
    at += value.numel();
  }
  bucket.arrived = ranks_.reduce(bucket.flat, bucket.owner);
  ++sent_;
}

void Sharding::exchange_gradients() {
  const at::NoGradGuard no_grad;
  expecting_ = false;
  while (next_ < buckets_.size()) send(buckets_[next_++]);
  next_ = 0;
  std::vector<double> there;
  for (const Parameter& p : trained_) there.push_back(p.value().grad().defined() ? 1 : 0);
  there = ranks_.sum(there);
  for (Bucket& bucket : buckets_) {
    bucket.arrived();
    bucket.arrived = nullptr;
    int64_t at = 0;
    for (const size_t i : bucket.parameters) {
      Tensor value = trained_[i].value();
      const bool mine = bucket.owner == ranks_.rank() && there[i] > 0;
      value.mutable_grad() = mine ? bucket.flat.narrow(0, at, value.numel()).view(value.sizes()) : Tensor();
      at += value.numel();
    }
  }
}

void Sharding::share_parameters() {
  const at::NoGradGuard no_grad;
  std::vector<Collectives::Wait> waits;
  for (Bucket& bucket : buckets_) {
    int64_t at = 0;
    for (const size_t i : bucket.parameters) {
      const Tensor value = trained_[i].value();
      if (bucket.owner == ranks_.rank()) bucket.flat.narrow(0, at, value.numel()).copy_(value.reshape(-1));
      at += value.numel();
    }
    waits.push_back(ranks_.broadcast(bucket.flat, bucket.owner));
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    waits[b]();
    int64_t at = 0;
    for (const size_t i : buckets_[b].parameters) {
      const Tensor value = trained_[i].value();
      if (buckets_[b].owner != ranks_.rank())
        value.copy_(buckets_[b].flat.narrow(0, at, value.numel()).view(value.sizes()));
      at += value.numel();
    }
  }
}

}  // namespace mneme
