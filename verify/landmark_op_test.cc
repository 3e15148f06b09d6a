// The operator cases of the landmark goldens: sets, weights, output and gradients of one attention, against
// both the reference and whatever landmark_attention runs.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/safetensors.h"
#include "io/testing.h"
#include "ops/landmark_reference.h"

namespace mneme {
namespace {

constexpr double kTolerance = 1e-4;

struct Case {
  nlohmann::json memory;
  SafetensorsFile io;
  Tensor operator[](const std::string& name) const { return io.tensor(name); }
  bool has(const std::string& name) const { return io.contains(name); }
};

std::optional<Case> load(const std::string& name) {
  const std::string folder = shared_path("goldens/landmark/" + name);
  if (folder.empty()) return {};
  std::ifstream config(folder + "/config.json");
  return Case{nlohmann::json::parse(config).at("memory"), SafetensorsFile::open(folder + "/io.safetensors")};
}

// The goldens have heads before positions.
Tensor swap(const Tensor& t) { return t.transpose(1, 2).contiguous(); }

struct Call {
  Tensor q;
  LandmarkKeys keys;
  LandmarkOptions options;
  Tensor miss;  // as the golden shapes it: [B, H, 1, K]
};

Call call_of(const Case& c) {
  Call call{swap(c["q"]), {swap(c["k"]), swap(c["v"]), {}, {}}, {}, {}};
  if (c.has("is_landmark")) {
    call.keys.is_landmark = c["is_landmark"];
  } else {
    const int64_t size = c.memory.at("block_size");
    call.keys.is_landmark =
        (at::arange(call.keys.k.size(1)).remainder(size) == size - 1).repeat({call.q.size(0), 1});
  }
  if (c.has("keep")) call.keys.mask = c["keep"];
  call.options.parity_padded_blocks = c.memory.value("parity_padded_blocks", false);
  if (c.has("gate_keep")) {
    call.options.gate_keep = c["gate_keep"];
    call.options.group_dropout = c.memory.at("group_dropout");
  }
  if (c.has("r")) {
    call.miss = c["r"];
    call.options.controlled = c["controlled"];
  }
  return call;
}

void expect_near(const Tensor& found, const Tensor& expected, const std::string& what,
                 const Tensor& rows = {}) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  Tensor difference = (found.to(at::kDouble) - expected.to(at::kDouble)).abs();
  if (rows.defined()) {  // padding queries count for nothing; positions are dimension 2
    auto shape = std::vector<int64_t>(difference.dim(), 1);
    shape[0] = rows.size(0), shape[2] = rows.size(1);
    difference = difference * rows.view(shape);
  }
  EXPECT_LE(difference.max().item<double>(), kTolerance) << what;
}

using Attention = Tensor (*)(const Tensor&, const LandmarkKeys&, const LandmarkOptions&, Tensor*);

void check_output(const Case& c, Call call, Attention attend) {
  for (Tensor* leaf : {&call.q, &call.keys.k, &call.keys.v, &call.miss}) {
    if (leaf->defined()) leaf->requires_grad_();
  }
  if (call.miss.defined()) call.options.miss_key = call.miss.squeeze(2);
  Tensor lse;
  const Tensor out = attend(call.q, call.keys, call.options, &lse);
  const Tensor rows = call.keys.mask;
  expect_near(swap(out), c["out"], "out", rows);
  if (c.has("lse")) expect_near(lse, c["lse"], "lse");
  (out * swap(c["grad_out"])).sum().backward();
  expect_near(swap(call.q.grad()), c["grad.q"], "grad.q", rows);
  expect_near(swap(call.keys.k.grad()), c["grad.k"], "grad.k");
  expect_near(swap(call.keys.v.grad()), c["grad.v"], "grad.v");
  if (call.miss.defined()) expect_near(call.miss.grad(), c["grad.r"], "grad.r");
}

void check_weights(const Case& c, Call call) {
  const LandmarkSets sets = landmark_sets(call.keys, call.q.size(1));
  auto equal = [&](const Tensor& found, const std::string& name) {
    if (!c.has(name)) return;
    Tensor differs = found.unsqueeze(1) != c[name];
    if (call.keys.mask.defined()) differs = differs.logical_and(call.keys.mask.unsqueeze(1).unsqueeze(3));
    EXPECT_FALSE(differs.any().item<bool>()) << name;
  };
  equal(sets.masked, "masked");
  equal(sets.cur, "cur");
  equal(sets.gate, "gate");
  if (!c.has("weights")) return;
  if (call.miss.defined()) call.options.miss_key = call.miss.squeeze(2);
  const Tensor weights = landmark_weights_reference(call.q, call.keys, call.options);
  expect_near(weights, c["weights"], "weights", call.keys.mask);
  expect_near(weights.sum(-1), c["row_sum"], "row_sum", call.keys.mask);
}

void check_cutoff(const Case& c, Call call) {
  if (!c.has("cutoff.out")) return;
  call.options.miss_key = call.miss.squeeze(2);
  call.options.miss_cutoff = c.memory.at("rem_cutoff").get<double>();
  const Tensor weights = landmark_weights_reference(call.q, call.keys, call.options);
  expect_near(weights, c["cutoff.weights"], "cutoff.weights");
  expect_near(weights.sum(-1), c["cutoff.row_sum"], "cutoff.row_sum");
  expect_near(swap(landmark_attention(call.q, call.keys, call.options)), c["cutoff.out"], "cutoff.out");
}

void check_ragged(const Case& c, Call call, Attention attend) {
  if (!c.has("ragged.out")) return;
  const Tensor expected = c["ragged.out"];
  const int64_t T = expected.size(2), S = call.keys.k.size(1) - (call.q.size(1) - T);
  const LandmarkKeys keys{
      call.keys.k.slice(1, 0, S), call.keys.v.slice(1, 0, S), call.keys.is_landmark.slice(1, 0, S), {}};
  expect_near(swap(attend(call.q.slice(1, 0, T), keys, call.options, nullptr)), expected, "ragged.out");
}

class LandmarkGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(LandmarkGolden, Agrees) {
  const std::optional<Case> c = load(GetParam());
  if (!c) GTEST_SKIP() << "the goldens are not here";
  check_weights(*c, call_of(*c));
  for (const Attention attend : {&landmark_attention_reference, &landmark_attention}) {
    check_output(*c, call_of(*c), attend);
    check_ragged(*c, call_of(*c), attend);
  }
  check_cutoff(*c, call_of(*c));
}

INSTANTIATE_TEST_SUITE_P(Op, LandmarkGolden,
                         ::testing::Values("op_irregular", "op_prefix", "op_no_landmark", "op_group_dropout",
                                           "op_padding", "op_cmt", "op_fused", "op_fused_prefix"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mneme
