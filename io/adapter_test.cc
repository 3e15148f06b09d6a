#include "io/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "io/testing.h"

namespace mneme {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Part = PeftName::Part;

TEST(PeftName, AllSpellings) {
  const auto check = [](const std::string& name, Part part, const std::string& path) {
    const PeftName found = parse_peft_name(name);
    EXPECT_EQ(found.part, part) << name;
    EXPECT_EQ(found.path, path) << name;
  };
  const std::string root = "base_model.model.";
  check(root + "model.layers.0.self_attn.q_proj.lora_A.weight", Part::lora_a,
        "model.layers.0.self_attn.q_proj");
  check(root + "model.layers.0.self_attn.q_proj.lora_B.default.weight", Part::lora_b,
        "model.layers.0.self_attn.q_proj");
  check("h.0.attn.c_attn.lora_A.mine.weight", Part::lora_a, "h.0.attn.c_attn");
  check(root + "model.embed_tokens.lora_embedding_A", Part::embedding_a, "model.embed_tokens");
  check(root + "model.embed_tokens.lora_embedding_B.default", Part::embedding_b, "model.embed_tokens");
  check(root + "model.embed_tokens.base_layer.weight", Part::whole, "model.embed_tokens.weight");
  check(root + "lm_head.modules_to_save.weight", Part::whole, "lm_head.weight");
  check(root + "lm_head.modules_to_save.default.weight", Part::whole, "lm_head.weight");
  check(root + "lm_head.original_module.weight", Part::original, "lm_head.weight");
  check(root + "model.norm.weight", Part::whole, "model.norm.weight");
  check("model.norm.weight", Part::whole, "model.norm.weight");
  check("x.lora_A.weight.more", Part::whole, "x.lora_A.weight.more");
}

TEST(PeftPattern, MatchesWholePathsAndTheirEnds) {
  EXPECT_TRUE(peft_pattern_matches("q_proj", "model.layers.0.self_attn.q_proj"));
  EXPECT_TRUE(peft_pattern_matches("q_proj", "q_proj"));
  EXPECT_FALSE(peft_pattern_matches("q_proj", "model.xq_proj"));
  EXPECT_TRUE(peft_pattern_matches(R"(layers\.[0-3]\.q_proj)", "model.layers.2.q_proj"));
  EXPECT_FALSE(peft_pattern_matches(R"(layers\.[0-3]\.q_proj)", "model.layers.12.q_proj"));
  EXPECT_THROW(peft_pattern_matches("(", "x"), Error);
  EXPECT_THROW(peft_pattern_matches("(a|aa)+[bd]", std::string(200, 'a') + "c"), Error);
}

Adapter sample() {
  Adapter out;
  out.config.rank = 4;
  out.config.alpha = 16;
  out.config.dropout = 0.05;
  out.config.target_modules = {"q_proj", "embed_tokens"};
  out.config.modules_to_save = {"lm_head"};
  out.config.rank_pattern = {{"layers.1.q_proj", 2}};
  out.config.alpha_pattern = {{"layers.1.q_proj", 3}};
  out.pairs["model.layers.0.q_proj"] = {at::randn({4, 6}), at::randn({8, 4}), false, 4};
  out.pairs["model.layers.1.q_proj"] = {at::randn({2, 6}), at::randn({8, 2}), false, 1.5};
  out.pairs["model.embed_tokens"] = {at::randn({4, 10}), at::randn({6, 4}), true, 4};
  out.whole["lm_head.weight"] = at::randn({10, 6}).to(at::kBFloat16);
  return out;
}

void expect_equal(const Adapter& a, const Adapter& b) {
  EXPECT_EQ(a.config.to_json(), b.config.to_json());
  ASSERT_EQ(a.pairs.size(), b.pairs.size());
  for (const auto& [path, pair] : a.pairs) {
    const LoraPair& other = b.pairs.at(path);
    EXPECT_TRUE(same_bytes(pair.a, other.a)) << path;
    EXPECT_TRUE(same_bytes(pair.b, other.b)) << path;
    EXPECT_EQ(pair.embedding, other.embedding) << path;
    EXPECT_EQ(pair.scale, other.scale) << path;
  }
  ASSERT_EQ(a.whole.size(), b.whole.size());
  for (const auto& [name, tensor] : a.whole) EXPECT_TRUE(same_bytes(tensor, b.whole.at(name))) << name;
}

TEST(Adapter, RoundTripIsByteEqual) {
  TemporaryFolder folder;
  const Adapter original = sample();
  write_adapter(folder / "adapter", original);
  expect_equal(read_adapter(folder / "adapter"), original);
  EXPECT_THROW(write_adapter(folder / "adapter", original), Error);
  EXPECT_NO_THROW(write_adapter(folder / "adapter", original, true));
}

TEST(Adapter, DeltaHasTheShapeOfTheWeight) {
  const LoraPair linear{at::randn({4, 6}), at::randn({8, 4}), false, 2};
  EXPECT_TRUE(at::allclose(linear.delta(), 2 * linear.b.matmul(linear.a)));
  EXPECT_EQ(linear.delta(true).sizes(), (at::IntArrayRef{6, 8}));
  const LoraPair embedding{at::randn({4, 10}), at::randn({6, 4}), true, 2};
  EXPECT_EQ(embedding.delta().sizes(), (at::IntArrayRef{10, 6}));
}

// The message of reading `config` beside `tensors`.
std::string refusal(json config, const NamedTensors& tensors) {
  TemporaryFolder folder;
  write_file(folder / "adapter_config.json", dump_json(config));
  write_safetensors(folder / "adapter_model.safetensors", tensors);
  try {
    read_adapter(folder.path());
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.message();
  }
  return "accepted";
}

TEST(Adapter, RefusesWhatItCannotApply) {
  const json config{{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 4}, {"target_modules", {"q"}}};
  const NamedTensors good{{"base_model.model.q.lora_A.weight", at::ones({2, 3})},
                          {"base_model.model.q.lora_B.weight", at::ones({3, 2})}};
  EXPECT_EQ(refusal(config, good), "accepted");
  const auto with = [&](const char* key, const json& value) {
    json changed = config;
    changed[key] = value;
    return refusal(changed, good);
  };
  EXPECT_EQ(with("use_dora", false), "accepted");
  EXPECT_EQ(with("init_lora_weights", "gaussian"), "accepted");
  EXPECT_EQ(with("target_modules", R"(.*\.q)"), "accepted");
  EXPECT_THAT(with("use_dora", true), HasSubstr("use_dora"));
  EXPECT_THAT(with("layer_replication", {{0, 1}}), HasSubstr("layer_replication"));
  EXPECT_THAT(with("init_lora_weights", "pissa_niter_4"), HasSubstr("pissa_niter_4"));
  EXPECT_THAT(with("peft_type", "IA3"), HasSubstr("peft_type"));
  EXPECT_THAT(with("r", 0), HasSubstr("r"));
  EXPECT_THAT(with("r", 3), HasSubstr("has rank 2, adapter_config.json says 3"));
  EXPECT_THAT(with("bias", "some"), HasSubstr("bias"));
  EXPECT_THAT(with("rank_pattern", {{"q", "x"}}), HasSubstr("rank_pattern"));
  EXPECT_THAT(refusal(config, {good[0]}), HasSubstr("only one of its two matrices"));
  EXPECT_THAT(refusal(config, {good[0], {"base_model.model.q.lora_B.weight", at::ones({3, 4})}}),
              HasSubstr("do not multiply"));
  EXPECT_THAT(refusal(config, {good[0], good[1], {"q.lora_B.default.weight", at::ones({3, 2})}}),
              HasSubstr("twice"));
}

TEST(Adapter, RankStabilisedScale) {
  json config{{"r", 4}, {"lora_alpha", 6}, {"use_rslora", true}};
  TemporaryFolder folder;
  write_safetensors(folder / "w", NamedTensors{{"q.lora_A.weight", at::ones({4, 3})},
                                               {"q.lora_B.weight", at::ones({3, 4})}});
  const Adapter adapter = make_adapter(AdapterConfig::parse(config, "c"), WeightSource::open(folder / "w"));
  EXPECT_EQ(adapter.pairs.at("q").scale, 3);
}

TEST(Adapter, RealAdaptersRoundTrip) {
  const std::string opt = shared_path("data/models/opt-125m-lora"),
                    tiny = shared_path("data/models/tinyllama-v0-lora");
  if (opt.empty()) GTEST_SKIP() << "no shared data";
  const Adapter a = read_adapter(opt);
  EXPECT_EQ(a.pairs.size(), 24U);
  EXPECT_EQ(a.config.base_model, "facebook/opt-125m");
  EXPECT_EQ(a.config.dropout, 0.05);
  EXPECT_EQ(a.pairs.at("model.decoder.layers.11.self_attn.v_proj").scale, 2);
  const Adapter b = read_adapter(tiny);
  EXPECT_EQ(b.pairs.size(), 1U);
  EXPECT_EQ(b.pairs.at("model.layers.0.self_attn.q_proj").scale, 4);
  EXPECT_EQ(b.whole.at("lm_head.weight").sizes(), (at::IntArrayRef{5, 64}));
  EXPECT_EQ(b.whole.at("model.embed_tokens.weight").scalar_type(), at::kBFloat16);
  TemporaryFolder folder;
  for (const Adapter* adapter : {&a, &b}) {
    write_adapter(folder / "copy", *adapter, true);
    expect_equal(read_adapter(folder / "copy"), *adapter);
  }
}

}  // namespace
}  // namespace mneme
