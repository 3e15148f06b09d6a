#include "train/trainable.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "memory/law_cases.h"

namespace mneme {
namespace {

Model model_of(const std::string& method, bool llama = true) {
  for (const LawCase& c : law_cases()) {
    if (c.options.method == method && c.llama == llama) return law_model(c, at::kFloat);
  }
  throw std::runtime_error("no case of " + method);
}

std::vector<std::string> names_of(const std::vector<Parameter>& parameters) {
  std::vector<std::string> out;
  for (const Parameter& p : parameters) out.push_back(p.name);
  return out;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::count(names.begin(), names.end(), name) == 1;
}

TEST(Trainable, EverythingWithoutLora) {
  const Model m = model_of("rmt");
  EXPECT_EQ(names_of(trained_parameters(m, {})), names_of(all_parameters(m)));
}

TEST(Trainable, AMethodLeavesSomeAlone) {
  const Model m = model_of("hmt");
  const std::vector<std::string> names = names_of(trained_parameters(m, {}));
  EXPECT_FALSE(has(names, "memory_cell.mem_map.linear.weight"));
  EXPECT_TRUE(has(names, "cross_attn.wq.weight"));
  TrainableOptions wanted;
  wanted.unfreeze = {"*.mem_map.linear.*"};
  EXPECT_TRUE(has(names_of(trained_parameters(m, wanted)), "memory_cell.mem_map.linear.weight"));
}

TEST(Trainable, LoraFreezesTheBackboneAndKeepsTheMemory) {
  Model m = model_of("rmt");
  TrainableOptions o;
  o.lora.rank = 2;
  o.lora.targets = {"q_proj", "v_proj"};
  o.unfreeze = {"final_norm.*"};
  o.freeze = {"layers.1.v.*"};
  const std::vector<std::string> names = names_of(prepare_training(m, o, at::kCPU, at::kBFloat16, 1));
  const std::vector<std::string> expected = {"final_norm.weight", "layers.0.q.lora_a", "layers.0.q.lora_b",
                                             "layers.0.v.lora_a", "layers.0.v.lora_b", "layers.1.q.lora_a",
                                             "layers.1.q.lora_b", "memory_cell.memory"};
  EXPECT_EQ(names, expected);
  for (const Parameter& p : all_parameters(m)) {
    const Tensor value = p.value();
    EXPECT_EQ(value.requires_grad(), has(names, p.name)) << p.name;
    const bool adapter = p.name.find("lora") != std::string::npos;
    const bool narrow = p.name == "embedding" || (p.matrix && !adapter);
    EXPECT_EQ(value.scalar_type(), narrow ? at::kBFloat16 : at::kFloat) << p.name;
  }
}

TEST(Trainable, WrongPatternsAreRefused) {
  const Model m = model_of("rmt");
  TrainableOptions o;
  o.freeze = {"layer.0.*"};
  EXPECT_THROW(trained_parameters(m, o), Error);
  o.freeze = {"*"};
  EXPECT_THROW(trained_parameters(m, o), Error);
}

}  // namespace
}  // namespace mneme
