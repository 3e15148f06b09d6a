// What the processes of one training say to each other: sums to an owner, copies from an owner, and small
// sums to all. One process a rank, found by torchrun's environment (RANK, WORLD_SIZE, MASTER_ADDR,
// MASTER_PORT). This is the only place that knows libtorch's c10d; CPU tensors go through gloo, and a backend
// for devices belongs here, too. How gradients are cut up and who owns what is train/sharding.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

class Collectives {
 public:
  // nullptr when the environment names no other rank. Throws Error{usage} for an environment that makes no
  // sense and Error{resource} when the others do not come.
  static std::unique_ptr<Collectives> from_environment();
  ~Collectives();
  Collectives(const Collectives&) = delete;
  Collectives& operator=(const Collectives&) = delete;

  int64_t rank() const;
  int64_t size() const;

  // Begun in the same order by all ranks; the call that is returned waits for the end. Tensors are contiguous
  // and stay alive until then; fp32 or fp64 for sums.
  using Wait = std::function<void()>;
  Wait reduce(const Tensor& t, int64_t owner);  // the sum is the owner's; the others' content is lost
  Wait broadcast(const Tensor& t, int64_t owner);

  std::vector<double> sum(const std::vector<double>& values);  // of all ranks, the same bits on each
  void barrier() { sum({0}); }

  // To be called by a rank that ends because of an error: the others, whose next call fails, then say why.
  void tell_failure(const std::string& reason);

 private:
  struct Impl;
  explicit Collectives(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mneme
