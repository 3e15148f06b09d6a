#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "base/error.h"
#include "io/testing.h"

namespace mneme {
namespace {

// Parameters as a model would have them: two matrices, an embedding, a norm.
struct Toy {
  std::deque<Tensor> tensors;  // Parameter points at them
  std::vector<Parameter> parameters;
  explicit Toy(at::ScalarType type = at::kFloat) {
    at::manual_seed(11);
    add("layers.0.up.weight", {6, 4}, true, type);
    add("layers.0.norm.weight", {4}, false, type);
    add("embedding.weight", {9, 4}, false, type);
    add("memory.write.weight", {4, 4}, true, type);
  }
  void add(const std::string& name, const std::vector<int64_t>& shape, bool matrix, at::ScalarType type) {
    tensors.push_back(at::randn(shape).to(type).requires_grad_());
    parameters.push_back({name, nullptr, &tensors.back(), shape, matrix});
  }
  // Gradients that depend on the step alone, none for parameters listed.
  void give_gradients(int step, const std::vector<size_t>& without = {}) {
    at::manual_seed(100 + static_cast<uint64_t>(step));
    for (size_t i = 0; i < tensors.size(); ++i) {
      const Tensor g = at::randn(tensors[i].sizes()).to(tensors[i].scalar_type());
      const bool none = std::find(without.begin(), without.end(), i) != without.end();
      tensors[i].mutable_grad() = none ? Tensor() : g;
    }
  }
  std::vector<Tensor> values() const {
    std::vector<Tensor> out;
    for (const Tensor& t : tensors) out.push_back(t.detach().clone());
    return out;
  }
};

OptimizerOptions of_kind(const std::string& kind) {
  OptimizerOptions o;
  o.kind = kind;
  return o;
}

TEST(Optimizer, GroupsFollowTheOptions) {
  const Toy toy;
  OptimizerOptions o;
  o.weight_decay = 0.3;
  const auto decaying = [&] {
    std::vector<std::string> out;
    for (const ParameterGroup& g : parameter_groups(toy.parameters, o)) {
      for (const Parameter& p : g.parameters) {
        if (g.weight_decay == 0.3) out.push_back(p.name);
      }
    }
    return out;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(decaying(), (Names{"layers.0.up.weight", "memory.write.weight"}));
  o.decay = "2d";
  EXPECT_EQ(decaying(), (Names{"layers.0.up.weight", "embedding.weight", "memory.write.weight"}));
  o.decay = "all";
  EXPECT_EQ(decaying().size(), 4U);
  o.no_decay = {"norm", "embedding"};
  EXPECT_EQ(decaying(), (Names{"layers.0.up.weight", "memory.write.weight"}));
  o.rates = {"memory=10"};
  const std::vector<ParameterGroup> groups = parameter_groups(toy.parameters, o);
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[2].parameters.front().name, "memory.write.weight");
  EXPECT_EQ(groups[2].rate, 10);
}

TEST(Optimizer, StepIsThatOfTheRule) {
  Toy toy;
  OptimizerOptions o;
  o.lr = 0.01;
  o.weight_decay = 0.1;
  o.clip_norm = 0.5;
  o.rates = {"memory=3"};
  Optimizer optimizer(toy.parameters, o);
  const std::vector<Tensor> before = toy.values();
  toy.give_gradients(1);
  double squares = 0;
  for (const Tensor& t : toy.tensors) squares += t.grad().to(at::kDouble).square().sum().item<double>();
  const double norm = optimizer.step(0.5, 0.25);
  EXPECT_NEAR(norm, 0.25 * std::sqrt(squares), 1e-6);
  for (size_t i = 0; i < before.size(); ++i) {
    // Adam's first step is the sign of the gradient, whatever the clipping.
    const double lr = 0.005 * (i == 3 ? 3 : 1), decay = toy.parameters[i].matrix ? 0.1 : 0;
    const Tensor expected = before[i] * (1 - lr * decay) - toy.tensors[i].grad().sign() * lr;
    EXPECT_TRUE(at::allclose(toy.tensors[i].detach(), expected, 1e-5, 1e-6)) << toy.parameters[i].name;
  }
}

TEST(Optimizer, ClippingScalesAndLimits) {
  for (const bool by_norm : {true, false}) {
    Toy toy;
    OptimizerOptions o = of_kind("sgd");
    o.momentum = 0;
    o.weight_decay = 0;
    o.lr = 1;
    o.clip_norm = by_norm ? 0.5 : 0;
    o.clip_value = by_norm ? 0 : 0.2;
    Optimizer optimizer(toy.parameters, o);
    const std::vector<Tensor> before = toy.values();
    toy.give_gradients(1);
    const double norm = optimizer.step(1);
    double moved = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      const Tensor expected =
          by_norm ? toy.tensors[i].grad() * (0.5 / (norm + 1e-6)) : toy.tensors[i].grad().clamp(-0.2, 0.2);
      const Tensor step = before[i] - toy.tensors[i].detach();
      EXPECT_TRUE(at::allclose(step, expected, 1e-4, 1e-6));
      moved += step.square().sum().item<double>();
    }
    if (by_norm) {
      EXPECT_NEAR(std::sqrt(moved), 0.5, 1e-4);
    }
  }
}

TEST(Optimizer, ResumesBitForBit) {
  const TemporaryFolder folder;
  const std::string path = folder / "optimizer.safetensors";
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    for (const std::string kind : {"adamw", "sgd"}) {
      Toy whole(type);
      Optimizer optimizer(whole.parameters, of_kind(kind));
      for (int step = 0; step < 3; ++step) {
        whole.give_gradients(step, step ? std::vector<size_t>{} : std::vector<size_t>{3});
        optimizer.step(1);
      }
      write_safetensors(path, optimizer.state());
      Toy resumed(type);
      const std::vector<Tensor> values = whole.values();
      for (size_t i = 0; i < values.size(); ++i) resumed.tensors[i].detach().copy_(values[i]);
      Optimizer second(resumed.parameters, of_kind(kind));
      second.load(SafetensorsFile::open(path));
      for (int step = 3; step < 5; ++step) {
        whole.give_gradients(step);
        resumed.give_gradients(step);
        EXPECT_EQ(optimizer.step(0.7), second.step(0.7));
      }
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_TRUE(same_bytes(whole.tensors[i].detach(), resumed.tensors[i].detach())) << kind << " " << i;
      }
    }
  }
}

TEST(Optimizer, ParametersWithoutGradientDoNotAge) {
  Toy toy;
  OptimizerOptions o;
  o.decay = "all";
  Optimizer optimizer(toy.parameters, o);
  const std::vector<Tensor> before = toy.values();
  toy.give_gradients(0, {1, 3});
  optimizer.step(1);
  EXPECT_FALSE(at::equal(toy.tensors[0], before[0]));
  EXPECT_TRUE(at::equal(toy.tensors[1], before[1]));
  EXPECT_TRUE(at::equal(toy.tensors[3], before[3]));
  for (const auto& [name, t] : optimizer.state()) {
    if (name == "memory.write.weight.step" || name == "layers.0.up.weight.step") {
      EXPECT_EQ(t.item<int64_t>(), name[0] == 'l' ? 1 : 0);
    }
  }
}

TEST(Optimizer, ANormThatIsNotFiniteChangesNothing) {
  Toy toy;
  Optimizer optimizer(toy.parameters, {});
  const std::vector<Tensor> before = toy.values();
  toy.give_gradients(0);
  toy.tensors[2].mutable_grad()[0][0] = std::nan("");
  EXPECT_FALSE(std::isfinite(optimizer.step(1)));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(toy.tensors[i], before[i]));
  for (const auto& [name, t] : optimizer.state()) EXPECT_EQ(t.count_nonzero().item<int64_t>(), 0) << name;
  optimizer.zero_gradients();
  for (const Tensor& t : toy.tensors) EXPECT_FALSE(t.grad().defined());
}

TEST(Optimizer, LoadingTakesAllOrNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "optimizer.safetensors";
  Toy toy;
  Optimizer optimizer(toy.parameters, {});
  toy.give_gradients(0);
  optimizer.step(1);
  const NamedTensors good = optimizer.state();
  const auto refused = [&](const NamedTensors& tensors) {
    write_safetensors(path, tensors);
    Optimizer fresh(toy.parameters, {});
    EXPECT_THROW(fresh.load(SafetensorsFile::open(path)), Error);
    for (const auto& [name, t] : fresh.state()) EXPECT_EQ(t.count_nonzero().item<int64_t>(), 0) << name;
  };
  NamedTensors bad = good;
  bad.pop_back();
  refused(bad);
  bad = good;
  bad.back().second = at::scalar_tensor(-1, at::kLong);
  refused(bad);
  bad = good;
  bad[bad.size() - 2].second = at::zeros({4, 5});
  refused(bad);
  bad = good;
  bad[bad.size() - 2].second = bad[bad.size() - 2].second.to(at::kDouble);
  refused(bad);
}

TEST(Optimizer, StateOfNarrowParametersIsWide) {
  Toy toy(at::kBFloat16);
  for (const auto& [name, t] : Optimizer(toy.parameters, {}).state()) {
    EXPECT_NE(t.scalar_type(), at::kBFloat16) << name;
  }
}

TEST(Optimizer, ValuesWithoutMeaningAreRefused) {
  const Toy toy;
  const auto refused = [&](auto change) {
    OptimizerOptions o;
    change(o);
    EXPECT_THROW(Optimizer(toy.parameters, o), Error);
  };
  refused([](OptimizerOptions& o) { o.lr = -1; });
  refused([](OptimizerOptions& o) { o.lr = std::nan(""); });
  refused([](OptimizerOptions& o) { o.beta1 = 1; });
  refused([](OptimizerOptions& o) { o.momentum = 2; });
  refused([](OptimizerOptions& o) { o.clip_norm = -1; });
  refused([](OptimizerOptions& o) { o.kind = "lion"; });
  refused([](OptimizerOptions& o) { o.decay = "some"; });
  refused([](OptimizerOptions& o) { o.no_decay = {"nowhere"}; });
  for (const char* rate :
       {"memory", "memory=", "=2", "memory=x", "memory=2x", "memory=-1", "nowhere=2", ""}) {
    refused([&](OptimizerOptions& o) { o.rates = {rate}; });
  }
  std::vector<Parameter> twice = toy.parameters;
  twice.push_back(twice.front());
  EXPECT_THROW(Optimizer(twice, {}), Error);
}

}  // namespace
}  // namespace mneme
