// Cases made of the reference cases, whose results follow from others: what no original was run for.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "verify/run.h"

namespace mneme {
namespace {

using Json = nlohmann::json;

// A case in memory, written to a folder of its own to be run.
class Variant {
 public:
  explicit Variant(const std::string& of) {
    const std::string from = "tests/goldens/" + of;
    config = read_json(from + "/config.json");
    spec = read_json(from + "/case.json");
    read(from + "/io.safetensors", io);
    read(from + "/weights.safetensors", weights);
  }

  Results run() const {
    const GoldenCase golden = open();
    return run_case(golden);
  }
  Comparison compared(const std::string& name, const Results& results) const {
    const GoldenCase golden = open();
    for (const auto& [expected, rule] : golden.expected()) {
      if (expected == name) return compare(golden, name, *rule, results);
    }
    throw std::runtime_error(name);
  }

  Json config, spec;
  std::map<std::string, Tensor> io, weights;

 private:
  static void read(const std::string& path, std::map<std::string, Tensor>& out) {
    const SafetensorsFile file = SafetensorsFile::open(path);
    for (const std::string& name : file.names()) out[name] = file.tensor(name).clone();
  }
  GoldenCase open() const {
    const std::string folder = testing::TempDir() + "mneme_variant";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    write_file(folder + "/config.json", config.dump());
    write_file(folder + "/case.json", spec.dump());
    write_safetensors(folder + "/io.safetensors", NamedTensors(io.begin(), io.end()));
    write_safetensors(folder + "/weights.safetensors", NamedTensors(weights.begin(), weights.end()));
    return GoldenCase::open(folder);
  }
};

double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

// The prompts of two rows, the second shorter and padded on the left, against each alone.
void expect_padding_without_effect(const Variant& of) {
  const auto generated = [&](const Tensor& ids, const Tensor& mask) {
    Variant v = of;
    v.io["input_ids"] = ids;
    v.io["attention_mask"] = mask;
    return v.run().tensors.at("generated_logits");
  };
  const Tensor ids = of.io.at("input_ids")[0].narrow(0, 0, 7).unsqueeze(0), all = at::ones_like(ids);
  const Tensor longer = generated(ids, all), shorter = generated(ids.narrow(1, 3, 4), all.narrow(1, 3, 4));
  const Tensor two = at::cat({ids, ids});
  Tensor mask = at::ones_like(two);
  mask[1].narrow(0, 0, 3).fill_(0);
  const Tensor both = generated(two, mask);
  EXPECT_LT(distance(both.narrow(0, 0, 1), longer), 1e-4);
  EXPECT_LT(distance(both.narrow(0, 1, 1), shorter), 1e-4);
}

TEST(Variants, PaddedPromptsBeginAtTheirFirstToken) {
  for (const char* method : {"rmt", "hmt"})
    expect_padding_without_effect(Variant(std::string(method) + "/generate"));
  Variant early("rmt/generate");
  early.config["memory"]["generate_write_memory"] = true;
  expect_padding_without_effect(early);
}

// Any case as one of generation.
Variant generation(const std::string& of) {
  Variant v(of);
  v.config.erase("adamw");
  v.config["generate"] = {{"max_new_tokens", 3}};
  Json any;
  any["match"] = "*";
  any["skip"] = true;
  v.spec["kind"] = "generate";
  v.spec["inputs"] = {"input_ids", "attention_mask"};
  v.spec["outputs"] = Json::array();
  v.spec["outputs"].push_back(any);
  return v;
}

TEST(Variants, PaddedPromptsOfOtherBackbones) {
  for (const char* of : {"rmt/gpt2_train", "hmt/gpt2_train", "rmt/opt_m1"})
    expect_padding_without_effect(generation(of));
}

TEST(Variants, ReducedModesGenerate) {
  for (const char* mode : {"hmt_stage_1", "rmt_only", "baseline_only"}) {
    Variant v = generation("hmt/gpt2_train");
    const bool none = std::string(mode) == "baseline_only";
    v.config["memory"]["mode"] = mode;
    v.config["memory"]["num_mem_tokens"] = none ? 0 : 1;
    for (const char* unused : {"mem", "cross_attn.wq.weight", "cross_attn.wk.weight"})
      v.weights.erase(unused);
    if (none) v.weights.erase("memory_cell.memory");
    const Results r = v.run();
    EXPECT_EQ(r.tensors.at("generated").size(1), 3) << mode;
    EXPECT_EQ(r.tensors.count("seg0.memory"), none ? 0U : 1U) << mode;
    EXPECT_EQ(r.tensors.count("seg1.recalled"), 0U) << mode;
  }
}

TEST(Variants, BaselineWithPaddingIsThatOfTheRows) {
  Variant v("rmt/llama_gqa_pad");  // three rows with padding on the left, one segment of nothing else
  v.config["memory"]["num_mem_tokens"] = 0;
  v.weights["memory_cell.memory"] = at::zeros({0, v.weights.at("memory_cell.memory").size(1)});
  const Results all = v.run();
  EXPECT_TRUE(all.tensors.at("loss").isfinite().item<bool>());
  const Tensor logits = all.tensors.at("logits"), mask = v.io.at("attention_mask");
  EXPECT_TRUE(logits.masked_select(mask.to(at::kBool).unsqueeze(2)).isfinite().all().item<bool>());
  for (const auto& [name, t] : all.tensors) {
    const bool gradient = name.rfind("grad", 0) == 0;
    EXPECT_TRUE(!gradient || t.isfinite().all().item<bool>()) << name;
  }
}

TEST(Variants, RowsOfABatchCanChangePlaces) {
  Variant v("rmt/llama_gqa_pad");
  const Tensor order = at::tensor({2, 0, 1}, at::kLong);
  for (auto& [name, t] : v.io) {
    if (t.dim() > 1 && t.size(0) == 3 && name.rfind("grad", 0) != 0) t = t.index_select(0, order);
  }
  const Results results = v.run();
  for (const auto& [name, t] : v.io) {
    if (name == "input_ids" || name == "attention_mask" || name == "labels") continue;
    const Comparison c = v.compared(name, results);
    EXPECT_TRUE(c.ok) << name << ": " << c.note;
  }
}

TEST(Variants, BrowsingCutsHalfOfTheSensoryPositions) {
  Variant v("hmt/dynamic_browse");
  v.config["call"] = Json::object();
  const Results plain = v.run();
  v.config["call"] = {{"mode", "browse"}};
  const Results browsing = v.run();
  for (int i = 0; i < 3; ++i) {
    const std::string name = "seg" + std::to_string(i) + ".logits";
    const Tensor a = plain.tensors.at(name), b = browsing.tensors.at(name);
    const int64_t more = i ? 2 : 0;  // of four sensory positions
    ASSERT_EQ(b.size(1), a.size(1) + more);
    EXPECT_LT(distance(b.narrow(1, more, a.size(1)), a), 1e-5);
  }
  v.config["call"] = {{"mode", "skim"}};
  EXPECT_THROW(v.run(), Error);
}

TEST(Variants, TheMapAtTheFirstSegmentIsOfTheLearnedMemory) {
  Variant v("hmt/gpt2_train");
  v.config.erase("adamw");
  v.config["call"] = {{"switch_at", 0}, {"extra_size", 2}};
  Tensor& inverse = v.weights.at("memory_cell.mem_map.inv_linear.weight");
  inverse = at::eye(inverse.size(0)) * 2;
  const Tensor mapped = v.run().tensors.at("seg0.memory");
  Variant plain("hmt/gpt2_train");
  plain.config.erase("adamw");
  plain.weights.at("memory_cell.memory") *= 2;
  plain.config["memory"]["block_size"] = v.config["memory"]["block_size"].get<int>() + 2;
  EXPECT_LT(distance(mapped, plain.run().tensors.at("seg0.memory")), 1e-5);
}

TEST(Variants, TheMapTurnsAtEachCall) {
  Variant v("hmt/gpt2_train");
  v.config["call"] = {{"switch_at", 1}, {"extra_size", 2}};
  v.config["adamw"]["steps"] = 2;
  v.config["adamw"]["lr"] = 0.0;
  const Results other = v.run();
  EXPECT_GT(distance(other.tensors.at("loss"), other.tensors.at("loss_step1")), 1e-6);
  v.weights["memory_cell.mem_map.linear.weight"] = v.weights.at("memory_cell.mem_map.inv_linear.weight");
  const Results same = v.run();
  EXPECT_LT(distance(same.tensors.at("loss"), same.tensors.at("loss_step1")), 1e-6);
}

TEST(Variants, WhatDoesNotFitIsAClearError) {
  Variant kept("hmt/gpt2_train");
  kept.config["memory"]["num_seg_save"] = 1;
  EXPECT_THROW(kept.run(), Error);
  Variant positions("hmt/gpt2_train");
  positions.spec["inputs"].push_back("pos_mask");
  positions.io["pos_mask"] = at::ones({positions.io.at("input_ids").size(0), 2});
  EXPECT_THROW(positions.run(), Error);
  Variant alignment("rmt/generate");
  alignment.config["memory"]["segment_alignment"] = "middle";
  EXPECT_THROW(alignment.run(), Error);
  Variant vectors("hmt/generate");
  vectors.config["memory"]["num_mem_tokens"] = 2;
  EXPECT_THROW(vectors.run(), Error);
}

TEST(Variants, OlderAdaptersHaveNoBaseLayer) {
  Variant v("hmt/lora_train");
  const double loss = v.run().tensors.at("loss").item<double>();
  std::map<std::string, Tensor> older;
  bool wrapped = false;
  for (const auto& [name, t] : v.weights) {
    std::string plain = name;
    if (const size_t at = plain.find(".base_layer"); at != std::string::npos) {
      plain.erase(at, 11);
      wrapped = true;
    }
    older[plain] = t;
  }
  ASSERT_TRUE(wrapped);
  v.weights = older;
  EXPECT_EQ(v.run().tensors.at("loss").item<double>(), loss);
}

TEST(Compare, Rules) {
  Variant v("rmt/opt_m1");
  v.config = {{"memory", Json::object()}};
  v.spec = {
      {"method", "rmt"}, {"kind", "train"}, {"inputs", Json::array({"mask"})}, {"outputs", Json::array()}};
  const auto check = [&](const Json& rule, const Tensor& expected, const Tensor& found) {
    Json whole = rule;
    whole["match"] = "x";
    v.spec["outputs"] = Json::array();
    v.spec["outputs"].push_back(whole);
    v.io["x"] = expected;
    Results results;
    results.put("x", found);
    return v.compared("x", results).ok;
  };
  v.io = {{"mask", at::tensor({1, 1, 0}, at::kLong).unsqueeze(0)}};
  const auto row = [](std::vector<double> values) { return at::tensor(values, at::kDouble).unsqueeze(0); };
  const double inf = INFINITY;
  // A mask hides what does not count, but the scale is that of the whole tensor.
  EXPECT_TRUE(check({{"atol", 0}, {"rtol", 1e-2}, {"mask", "mask"}}, row({1, 2, 9}), row({1, 2, 5})));
  EXPECT_FALSE(check({{"atol", 0}, {"rtol", 1e-2}}, row({1, 2, 9}), row({1, 2, 5})));
  EXPECT_TRUE(check({{"atol", 0}, {"rtol", 1e-2}, {"scale", "max"}, {"mask", "mask"}}, row({1, 2, 90}),
                    row({1.5, 2, 0})));
  EXPECT_FALSE(check({{"atol", 0}, {"rtol", 1e-2}, {"mask", "mask"}}, row({1, 2, 90}), row({1.5, 2, 0})));
  // The last positions of a mask that is longer; a mask on another axis.
  EXPECT_TRUE(check({{"exact", true}, {"mask", "mask"}}, row({4, 9}), row({4, 8})));
  EXPECT_FALSE(check({{"exact", true}, {"mask", "mask"}}, row({4, 9}), row({3, 9})));
  EXPECT_TRUE(check({{"exact", true}, {"mask", "mask"}, {"axis", 2}}, row({4, 4, 9}).unsqueeze(1),
                    row({4, 4, 8}).unsqueeze(1)));
  // Infinities equal themselves, NaN nothing.
  EXPECT_TRUE(check({{"exact", true}}, row({-inf, 0}), row({-inf, 0})));
  EXPECT_FALSE(check({{"exact", true}}, row({NAN, 0}), row({NAN, 0})));
  EXPECT_FALSE(check({{"atol", 1}, {"rtol", 0}}, row({NAN, 0}), row({NAN, 0})));
  EXPECT_FALSE(check({{"atol", 1}, {"rtol", 0}}, row({1, 0}), row({NAN, 0})));
  // Integers are compared whole, and a fraction is none.
  const Tensor big = at::tensor({int64_t{1} << 60}, at::kLong);
  EXPECT_FALSE(check({{"exact", true}}, big, big + 1));
  EXPECT_FALSE(check({{"exact", true}}, at::tensor({3}, at::kLong), at::tensor({3.4}, at::kDouble)));
  EXPECT_TRUE(check({{"exact", true}, {"unordered", true}}, row({3, 1, 2}), row({1, 2, 3})));
  // 16-bit results must be of the type itself.
  const Tensor half = at::ones({2}, at::kBFloat16);
  EXPECT_FALSE(check({{"exact", true}}, half, half.to(at::kFloat)));
  EXPECT_THROW(check({{"exact", true}, {"scale", "mean"}}, half, half), Error);
}

}  // namespace
}  // namespace mneme
