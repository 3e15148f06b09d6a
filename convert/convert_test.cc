#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "convert/adapters.h"
#include "convert/original_names.h"
#include "convert/tokenizer_check.h"
#include "convert/verify.h"
#include "convert/write.h"
#include "io/testing.h"
#include "memory/model_folder.h"
#include "model/load.h"
#include "text/tokenizer.h"

namespace mneme {
namespace {

constexpr const char* kArchitectures[] = {"llama",        "llama3",   "mistral",      "qwen2",  "qwen3",
                                          "gpt2",         "opt",      "neox",         "newgpt", "neox-serial",
                                          "landmark-gpt", "opt-350m", "llama-dynamic"};

Model tiny(const std::string& name, const MemoryOptions& memory = {}) {
  Model m = fresh_model("testdata/models/tiny-" + name + ".json", memory, 5);
  // Larger than a fresh model's, so that a layout gone wrong shows.
  uint64_t seed = 1;
  for (const Parameter& p : m.parameters()) {
    Tensor t = p.value().detach().clone();
    fill_normal(Site{.seed = seed++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()),
                p.name.find("norm.weight") != std::string::npos ? 1.0F : 0.0F, 0.2F);
    p.set(t);
  }
  m.decoder->refresh();
  return m;
}

MemoryOptions rmt() {
  MemoryOptions o;
  o.method = "rmt";
  o.rmt = {6, 2};
  return o;
}

MemoryOptions hmt() {
  MemoryOptions o;
  o.method = "hmt";
  o.hmt.segment = 6;
  o.hmt.sensory = 2;
  o.hmt.recall_width = 8;
  return o;
}

void expect_same_tensors(const WeightSource& a, const WeightSource& b) {
  std::vector<std::string> x = a.names(), y = b.names();
  std::sort(x.begin(), x.end());
  std::sort(y.begin(), y.end());
  ASSERT_EQ(x, y);
  for (const std::string& name : x) EXPECT_TRUE(same_bytes(a.tensor(name), b.tensor(name))) << name;
}

double difference(const Model& a, const Model& b) {
  return compare_logits(probe_logits(a, 30), probe_logits(b, 30)).error;
}

class Architectures : public ::testing::TestWithParam<const char*> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(Architectures, FoldersAndBackKeepEveryByte) {
  const std::string first = folder_ / "first", second = folder_ / "second", third = folder_ / "third";
  save_model(tiny(GetParam()), first);
  write_folder(read_package(first), second, {});
  expect_same_tensors(WeightSource::open(first), WeightSource::open(second));
  EXPECT_EQ(HfFolder::open(first).config(), HfFolder::open(second).config());
  // In bf16 a second time changes nothing more.
  WriteOptions bf16{.store = "bf16"};
  write_folder(read_package(second), third, bf16);
  EXPECT_EQ(HfFolder::open(third).config().at("torch_dtype"), "bfloat16");
  write_folder(read_package(third), folder_ / "fourth", bf16);
  expect_same_tensors(WeightSource::open(third), WeightSource::open(folder_ / "fourth"));
  const double error = difference(load_model(first, {}), load_model(third, {}));
  EXPECT_GT(error, 0);
  EXPECT_LT(error, allowed_error("bf16", false));
}

TEST_P(Architectures, ThroughGgufAndBackKeepsEveryByte) {
  const CaptureLog quiet;
  const std::string first = folder_ / "first", gguf = folder_ / "model.gguf", back = folder_ / "back";
  save_model(tiny(GetParam()), first);
  try {
    write_gguf_model(read_package(first), gguf, {});
  } catch (const Error& e) {
    // What GGUF has no word for is refused before anything is written.
    EXPECT_FALSE(file_exists(gguf));
    const std::vector<std::string> without = {"newgpt",   "landmark-gpt",  "opt",
                                              "opt-350m", "llama-dynamic", "neox-serial"};
    EXPECT_EQ(std::count(without.begin(), without.end(), GetParam()), 1) << e.what();
    return;
  }
  write_folder(read_package(gguf), back, {});
  expect_same_tensors(WeightSource::open(first), WeightSource::open(back));
  // GGUF does not say which of the two GELUs a NeoX has.
  const double allowed = std::string(GetParam()) == "neox-serial" ? 0.01 : 0;
  EXPECT_LE(difference(load_model(first, {}), load_model(gguf, {})), allowed);
}

TEST_P(Architectures, OriginalNamesAndBack) {
  const std::string first = folder_ / "first", original = folder_ / "original", back = folder_ / "back";
  save_model(tiny(GetParam(), rmt()), first);
  write_original(read_package(first), original, {});
  EXPECT_TRUE(is_original(WeightSource::open(original)));
  write_folder(read_package(original), back, {});
  expect_same_tensors(WeightSource::open(first), WeightSource::open(back));
  expect_same_tensors(WeightSource::open(first + "/memory.safetensors"),
                      WeightSource::open(back + "/memory.safetensors"));
  EXPECT_EQ(options_json(stored_memory(HfFolder::open(back))), options_json(rmt()));
  EXPECT_EQ(difference(load_model(first, {}), load_model(back, {})), 0);
}

Adapter random_adapter(const Model& model, int64_t rank) {
  const ModelConfig& c = model.decoder->config();
  const NameMap names(c);
  Adapter a;
  a.config.rank = rank;
  a.config.alpha = 3;
  uint64_t seed = 40;
  const auto filled = [&](std::vector<int64_t> shape) {
    Tensor t = at::empty(shape, at::kFloat);
    fill_normal(Site{.seed = seed++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()), 0, 0.3F);
    return t;
  };
  for (const Parameter& p : model.decoder->parameters()) {
    if (!p.matrix || p.name.rfind("layers.1.", 0) != 0) continue;
    const std::string name = names.file_name(p.name).name;
    a.pairs[name.substr(0, name.rfind('.'))] = {filled({rank, p.shape[1]}), filled({p.shape[0], rank}), false,
                                                3.0 / static_cast<double>(rank)};
  }
  const FileName norm = names.file_name("layers.0.attention_norm.weight");
  a.whole[norm.name] = filled({c.width});
  return a;
}

TEST_P(Architectures, AMergedAdapterEqualsOneBesideItsBase) {
  const std::string first = folder_ / "first", merged = folder_ / "merged";
  const Model model = tiny(GetParam());
  save_model(model, first);
  Package base = read_package(first), beside = base;
  beside.adapter = random_adapter(model, 3);
  Package whole = base;
  merge_adapter(whole, *beside.adapter);
  write_folder(whole, merged, {});
  const Model after = load_model(merged, {});
  EXPECT_LT(difference(load_package(beside), after), allowed_error("keep", true));
  EXPECT_GT(difference(load_package(base), after), 0.05);
  // And out again: of sufficient rank, nothing is lost.
  SplitReport report;
  base.adapter = split_adapter(read_package(merged), base, 3, report);
  EXPECT_EQ(report.whole, 1);
  EXPECT_EQ(report.modules, static_cast<int64_t>(beside.adapter->pairs.size()));
  EXPECT_LT(report.residual, 1e-5);
  EXPECT_LT(difference(load_package(base), after), allowed_error("keep", true));
  // Also through PEFT's files.
  write_adapter(folder_ / "adapter", *base.adapter);
  Package again = read_package(first);
  merge_adapter(again, read_adapter(folder_ / "adapter"));
  again.adapter.reset();
  EXPECT_LT(difference(load_package(again), after), allowed_error("keep", true));
}

INSTANTIATE_TEST_SUITE_P(All, Architectures, ::testing::ValuesIn(kArchitectures), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

class Convert : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = folder_ / "source";
    save_model(tiny("llama", hmt()), source_);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all = folder_.files();
    std::sort(all.begin(), all.end());
    return all;
  }
  TemporaryFolder folder_;
  std::string source_;
};

TEST_F(Convert, HmtUnderItsOriginalNames) {
  const CaptureLog log;
  write_original(read_package(source_), folder_ / "original", {});
  EXPECT_NE(log.text().find("recall"), std::string::npos);  // the original looks ahead
  const Package back = read_package(folder_ / "original");
  EXPECT_EQ(back.memory.hmt.segment, 6);
  EXPECT_EQ(back.memory.hmt.sensory, 2);
  EXPECT_EQ(back.memory.hmt.recall_width, 8);
  EXPECT_EQ(back.memory.hmt.recall, "lookahead");
  expect_same_tensors(*back.added, *read_package(source_).added);
}

TEST_F(Convert, ShardsAndTheirIndex) {
  write_folder(read_package(source_), folder_ / "shards", {.shard_bytes = 3000});
  EXPECT_TRUE(file_exists(folder_ / "shards" / "model.safetensors.index.json"));
  expect_same_tensors(WeightSource::open(source_), WeightSource::open(folder_ / "shards"));
}

TEST_F(Convert, NothingIsLeftOfAConversionThatFails) {
  WriteOptions o;
  bool seen = false;
  o.check = [&](const std::string& path) {
    seen = load_model(path, {}).options.method == "hmt";
    throw Error(Kind::numeric, "differs");
  };
  EXPECT_THROW(write_folder(read_package(source_), folder_ / "target", o), Error);
  EXPECT_TRUE(seen);
  EXPECT_THROW(write_original(read_package(source_), folder_ / "target", {.check = o.check}), Error);
  EXPECT_EQ(names(), std::vector<std::string>{"source"});
  Package plain = read_package(source_);
  EXPECT_THROW(write_gguf_model(plain, folder_ / "m.gguf", {}), Error);  // it has a memory
  plain.memory = {};
  plain.added.reset();
  const CaptureLog quiet;
  EXPECT_THROW(write_gguf_model(plain, folder_ / "m.gguf", o), Error);
  EXPECT_EQ(names(), std::vector<std::string>{"source"});
}

TEST_F(Convert, ATargetThatIsThereStays) {
  const CaptureLog quiet;
  Package plain = read_package(source_);
  plain.memory = {};
  plain.added.reset();
  write_file(folder_ / "m.gguf", "mine");
  EXPECT_THROW(write_gguf_model(plain, folder_ / "m.gguf", {}), Error);
  EXPECT_EQ(read_file(folder_ / "m.gguf"), "mine");
  EXPECT_THROW(write_folder(plain, source_, {}), Error);
  write_gguf_model(plain, folder_ / "m.gguf", {.replace = true});
  EXPECT_EQ(difference(load_model(folder_ / "m.gguf", {}), load_package(plain)), 0);
}

TEST_F(Convert, Q8RoundsAndIsWithinItsAllowance) {
  const CaptureLog quiet;
  Package plain = read_package(source_);
  plain.memory = {};
  plain.added.reset();
  plain.config["hidden_size"] = 16;
  // Rows of 16 are no whole blocks: fp16 instead, and nearly exact.
  write_gguf_model(plain, folder_ / "m.gguf", {.store = "q8_0"});
  EXPECT_LT(difference(load_model(folder_ / "m.gguf", {}), load_package(plain)),
            allowed_error("fp16", false));
  save_model(tiny("neox"), folder_ / "neox");  // rows of 32 are
  const Package neox = read_package(folder_ / "neox");
  write_gguf_model(neox, folder_ / "n.gguf", {.store = "q8_0"});
  const double error = difference(load_model(folder_ / "n.gguf", {}), load_package(neox));
  EXPECT_GT(error, 1e-4);
  EXPECT_LT(error, allowed_error("q8_0", false));
}

TEST_F(Convert, TheComparisonSeesAWrongLayout) {
  const Model right = load_model(source_, {});
  Model wrong = load_model(source_, {});
  wrong.decoder->layers[0].q.weight = Weight(wrong.decoder->layers[0].q.weight.value().flip({0}));
  EXPECT_GT(difference(right, wrong), allowed_error("q8_0", false));
}

TEST_F(Convert, MisfitsAreRefused) {
  nlohmann::json config = HfFolder::open(source_).config();
  config["intermediate_size"] = 25;
  write_file(source_ + "/config.json", config.dump());
  EXPECT_THROW(read_package(source_), Error);
  config["intermediate_size"] = 24;
  write_file(source_ + "/config.json", config.dump());
  remove_file(source_ + "/memory.safetensors");
  EXPECT_THROW(read_package(source_), Error);
}

TEST_F(Convert, RowsOfNewTokensFollowTheVocabulary) {
  Package p = read_package(source_);
  p.memory = {};
  p.added.reset();
  Adapter a;
  a.whole["model.embed_tokens.weight"] = at::ones({2, 16});
  a.whole["lm_head.weight"] = at::zeros({2, 16});
  merge_adapter(p, a);
  EXPECT_EQ(p.config.at("vocab_size"), 31);
  write_folder(p, folder_ / "larger", {});
  const Model larger = load_model(folder_ / "larger", {});
  EXPECT_EQ(larger.decoder->embedding[30].sum().item<double>(), 16);
  a.whole["lm_head.weight"] = at::zeros({3, 16});
  Package again = read_package(source_);
  EXPECT_THROW(merge_adapter(again, a), Error);
}

// A folder with a tokenizer through GGUF and back: nothing lost, nothing to warn of.
TEST(ConvertTokenizer, GoesIntoGgufAndOut) {
  const std::string source = shared_path("data/models/stories260K");
  if (source.empty()) GTEST_SKIP() << "no shared data";
  const CaptureLog log;
  const TemporaryFolder folder;
  const std::string gguf = folder / "m.gguf", second = folder / "q.gguf", back = folder / "back";
  write_gguf_model(read_package(source), gguf, {});
  write_gguf_model(read_package(gguf), second, {.store = "q8_0"});
  write_folder(read_package(gguf), back, {});
  EXPECT_EQ(log.text(), "");
  const auto original = load_tokenizer(source);
  for (const std::string& path : {gguf, second, back}) {
    const auto copy = load_tokenizer(path);
    EXPECT_TRUE(compare_tokenizers(*original, *copy).different.empty()) << path;
    EXPECT_EQ(copy->special().eos, original->special().eos);
    EXPECT_EQ(copy->encode("Once upon a time", true), original->encode("Once upon a time", true));
  }
  write_folder(read_package(gguf), folder / "bare", {.tokenizer = kNoTokenizer});
  EXPECT_THROW(load_tokenizer(folder / "bare"), Error);
  write_gguf_model(read_package(source), folder / "bare.gguf", {.tokenizer = kNoTokenizer});
  EXPECT_THROW(load_tokenizer(folder / "bare.gguf"), Error);
}

TEST(ConvertTokenizer, KeepsTheEndsOfChats) {
  const std::string source = shared_path("data/models/stories260K");
  if (source.empty()) GTEST_SKIP() << "no shared data";
  const CaptureLog quiet;
  const TemporaryFolder folder;
  write_folder(read_package(source), folder / "chat", {});
  write_file(folder / "chat/generation_config.json", R"({"eos_token_id": [2, 7, 9, 11]})");
  write_gguf_model(read_package(folder / "chat"), folder / "m.gguf", {});
  EXPECT_EQ(HfFolder::open(folder / "m.gguf").config().at("eos_token_id"), nlohmann::json({2, 7, 9}));
  EXPECT_NE(quiet.text().find("11 is left out"), std::string::npos);
}

// No word for the normaliser of Pythia: a warning with the text. No form at all: an error, and no file.
TEST(ConvertTokenizer, SaysWhatIsLost) {
  const std::string root = shared_path("data/tokenizers");
  if (root.empty()) GTEST_SKIP() << "no shared data";
  const CaptureLog log;
  const TemporaryFolder folder;
  save_model(tiny("llama"), folder / "tiny");
  const Package p = read_package(folder / "tiny");
  EXPECT_THROW(write_gguf_model(p, folder / "m.gguf", {.tokenizer = root + "/t5-small-unigram"}), Error);
  EXPECT_THROW(write_gguf_model(p, folder / "m.gguf", {.tokenizer = root + "/pythia"}), Error);  // too large
  EXPECT_FALSE(file_exists(folder / "m.gguf"));
  EXPECT_EQ(log.text(), "");
  const auto pythia = load_tokenizer(root + "/pythia"), gpt2 = load_tokenizer(root + "/gpt2");
  EXPECT_NE(compare_tokenizers(*pythia, *gpt2).summary().find("other ids"), std::string::npos);
  EXPECT_EQ(compare_tokenizers(*pythia, *pythia).summary(), "");
}

TEST(GuessMemory, FromShapes) {
  const CaptureLog log;
  EXPECT_EQ(guess_memory({}).method, "none");
  const MemoryOptions a = guess_memory({{"memory_cell.memory", {7, 16}}});
  EXPECT_EQ(a.method, "rmt");
  EXPECT_EQ(a.rmt.memory_tokens, 7);
  const MemoryOptions b = guess_memory({{"memory_cell.memory", {1, 16}},
                                        {"memory_cell.mem_map.linear.weight", {16, 16}},
                                        {"cross_attn.wq.weight", {20, 16}}});
  EXPECT_EQ(b.method, "hmt");
  EXPECT_EQ(b.hmt.recall_width, 20);
  EXPECT_NE(log.text().find("by its shapes"), std::string::npos);
}

TEST(ConvertGoldens, OriginalCheckpointsGoThroughAndBack) {
  const std::string root = shared_path("goldens");
  if (root.empty()) GTEST_SKIP() << "no shared data";
  const CaptureLog quiet;
  for (const char* name : {"rmt/gpt2_train", "hmt/llama_bf16_recall", "hmt/opt_projected_pad"}) {
    const TemporaryFolder folder;
    const std::string checkpoint = root + "/" + name + "/weights.safetensors";
    write_folder(read_package(checkpoint), folder / "ours", {});
    write_original(read_package(folder / "ours"), folder / "theirs", {});
    expect_same_tensors(WeightSource::open(checkpoint), WeightSource::open(folder / "theirs"));
  }
  // With adapters inside: merged, or taken out.
  const Package lora = read_package(root + "/hmt/lora_train/weights.safetensors");
  ASSERT_TRUE(lora.adapter);
  EXPECT_EQ(lora.adapter->config.rank, 8);
  Package merged = lora;
  merge_adapter(merged, *lora.adapter);
  EXPECT_LT(difference(load_package(lora), load_package(merged)), allowed_error("keep", true));
  Package without = lora;
  without.adapter.reset();
  EXPECT_GT(difference(load_package(lora), load_package(without)), 1e-3);
}

}  // namespace
}  // namespace mneme
