#include "eval/passkey_eval.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/testing.h"
#include "memory/model_folder.h"

namespace mneme {
namespace {

std::shared_ptr<const Tokenizer> tokenizer_of(const TestFolder& folder) {
  BpeTrainer trainer({300, {"<s>", "</s>"}, "", 2});
  trainer.add("The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.");
  folder.write("tokenizer.json", to_tokenizer_json(trainer.train()));
  folder.write("config.json",
               R"({"model_type": "llama", "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48,
                   "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                   "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
  return load_tokenizer(folder.path("tokenizer.json"));
}

Model model_of(const TestFolder& folder, const std::string& method) {
  MemoryOptions memory;
  memory.method = method;
  memory.rmt = {64, 2};
  return fresh_model(folder.path("config.json"), memory, 1);
}

TEST(PasskeyEval, AnUntrainedModelNamesNoKeyInAnyUse) {
  const TestFolder folder("passkey_eval");
  const auto tokenizer = tokenizer_of(folder);
  const Model model = model_of(folder, "rmt");
  PasskeyEvalOptions options;
  options.trials = 5;
  for (const MemoryUse use : {MemoryUse::on, MemoryUse::off, MemoryUse::shuffled, MemoryUse::foreign}) {
    const PasskeyResult r = evaluate_passkey(model, *tokenizer, {}, 200, use, options, 2, 7);
    EXPECT_EQ(r.all.asked, 5) << memory_use_name(use);
    EXPECT_EQ(r.all.right, 0);
    EXPECT_EQ(r.wrong.size(), 3U);
    EXPECT_GT(r.tokens, 200);
    EXPECT_GT(r.remembered.asked, 0);
  }
  const Model none = model_of(folder, "none");
  EXPECT_EQ(evaluate_passkey(none, *tokenizer, {}, 0, MemoryUse::on, options, 2, 7).remembered.asked, 0);
  EXPECT_THROW(evaluate_passkey(none, *tokenizer, {}, 0, MemoryUse::off, options, 2, 7), Error);
}

TEST(PasskeyEval, TheFillingFillsTheTokens) {
  const TestFolder folder("passkey_filling");
  const auto tokenizer = tokenizer_of(folder);
  const int64_t filling = filling_of_tokens(*tokenizer, 500);
  const auto size = [&](int64_t n) {
    return tokenizer->encode(passkey_prompt(n, n / 2, 31415), true).size();
  };
  EXPECT_LE(size(filling), 500U);
  EXPECT_GT(size(filling + 1), 500U);
  EXPECT_THROW(filling_of_tokens(*tokenizer, 10), Error);
}

}  // namespace
}  // namespace mneme
