// Data parallel training with a sharded optimizer (ZeRO stage 1, arXiv 1910.02054): every rank holds all
// parameters and finds gradients of its rows; each parameter has one owner, which alone holds its optimizer
// state, gets the sum of its gradients, updates it, and gives the others the new values.
//
// Gradients travel in buckets of one owner each, in fp32. In the last backward pass of an update a bucket
// leaves as soon as its gradients are complete, while the pass goes on.
#pragma once

#include <memory>
#include <vector>

#include "model/decoder.h"
#include "train/collectives.h"

namespace mneme {

class Sharding {
 public:
  // `trained`: leaves, in the same order on all ranks.
  Sharding(const std::vector<Parameter>& trained, Collectives& ranks);
  ~Sharding();
  Sharding(const Sharding&) = delete;
  Sharding& operator=(const Sharding&) = delete;

  const std::vector<int64_t>& owners() const { return owners_; }  // of each parameter
  std::vector<Parameter> owned() const;                           // this rank's

  // Before the last backward pass of an update. It adds to each parameter at most once, or says which time is
  // the last (ops/recompute.h).
  void expect_gradients();
  // After it: sums arrive at their owners, and the gradients of others' parameters are let go. A parameter
  // that has a gradient on no rank keeps none.
  void exchange_gradients();
  void share_parameters();  // after the owners' updates

  // Of all buckets so far: the share that did not wait for the end of the backward pass.
  double share_sent_early() const {
    return sent_ > 0 ? static_cast<double>(sent_early_) / static_cast<double>(sent_) : 0;
  }

 private:
  struct Bucket {
    int64_t owner = 0, elements = 0;
    std::vector<size_t> parameters;
    size_t ready = 0;
    Tensor flat;
    Collectives::Wait arrived;
  };
  struct Hooks;
  void add_parameter(size_t index);
  void gradient_ready(size_t parameter);
  void send(Bucket& bucket);

  std::vector<Parameter> trained_;
  Collectives& ranks_;
  std::vector<int64_t> owners_;
  std::vector<Bucket> buckets_;    // from the last parameter to the first, as a backward pass finds gradients
  std::vector<size_t> bucket_of_;  // of each parameter
  size_t next_ = 0;                // buckets leave in this order on every rank
  std::vector<bool> ready_;        // of each parameter
  bool expecting_ = false;
  int64_t sent_ = 0, sent_early_ = 0;
  std::unique_ptr<Hooks> hooks_;
};

}  // namespace mneme
