#include "eval/passkey_eval.h"

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"
#include "infer/generate.h"
#include "memory/read.h"

namespace mneme {
namespace {

constexpr uint64_t kForeign = uint64_t{1} << 41;  // indexes of prompts whose memory is taken by others
constexpr size_t kShown = 3;                      // wrong answers that are kept

using TokenIds = std::vector<int64_t>;

TokenIds encode(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text, /*add_special=*/true);
  return {ids.begin(), ids.end()};
}

// Prompts and how many of each's tokens lie before its last segment end.
struct Prompts {
  std::vector<PasskeyExample> examples;
  std::vector<TokenIds> ids;
  std::vector<int64_t> heads;
};

Prompts draw(const Tokenizer& tokenizer, int64_t filling, uint64_t seed, uint64_t first, int64_t rows,
             std::optional<int64_t> segment) {
  Prompts p;
  for (int64_t r = 0; r < rows; ++r) {
    p.examples.push_back(passkey_example(filling, seed, first + static_cast<uint64_t>(r)));
    p.ids.push_back(encode(tokenizer, p.examples.back().prompt));
    const auto size = static_cast<int64_t>(p.ids.back().size());
    p.heads.push_back(segment ? (size - 1) / *segment * *segment : 0);
  }
  return p;
}

// The memory of each prompt up to its last segment end, segment by segment.
State memory_of(const Model& model, const Prompts& p, int64_t segment, bool shuffled) {
  const auto rows = static_cast<int64_t>(p.ids.size());
  State state = model.initial(rows);
  const int64_t most = *std::max_element(p.heads.begin(), p.heads.end());
  for (int64_t at = 0; at < most; at += segment) {
    Batch batch;
    batch.ids = at::zeros({rows, segment}, at::kLong);
    for (int64_t r = 0; r < rows; ++r) {
      const auto i = static_cast<size_t>(r);
      batch.count.push_back(at < p.heads[i] ? segment : 0);
      if (batch.count.back() > 0)
        std::copy_n(p.ids[i].begin() + at, segment, batch.ids.data_ptr<int64_t>() + r * segment);
    }
    read(model, batch, state);
    if (shuffled) state = rotated(state);
  }
  return state;
}

// Whether the number stands before the last segment end: its first mention is what a memory would hold.
bool key_in_head(const Tokenizer& tokenizer, const Prompts& p, size_t r) {
  const std::string& prompt = p.examples[r].prompt;
  const size_t begin = prompt.find("The pass key is ");
  return static_cast<int64_t>(
             encode(tokenizer, prompt.substr(0, prompt.find(". Remember it.", begin))).size()) <= p.heads[r];
}

}  // namespace

PasskeyResult evaluate_passkey(const Model& model, const Tokenizer& tokenizer,
                               const std::vector<int64_t>& end_ids, int64_t filling, MemoryUse use,
                               const PasskeyEvalOptions& options, int64_t rows, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const std::optional<int64_t> segment = segment_of(model);
  if (use != MemoryUse::on && !segment)
    throw Error(Kind::usage,
                "the memory of '" + model.options.method + "' has no segments to forget it after");
  if (options.trials < 1 || options.answer < 1 || rows < 1)
    throw Error(Kind::usage, "pass key: trials, answer and rows must be positive");
  if (use == MemoryUse::shuffled && (rows < 2 || options.trials < 2))
    throw Error(Kind::usage, "swapping memories needs batches of at least 2 prompts");
  GenerateOptions generation;
  generation.max_tokens = options.answer;
  PasskeyResult result;
  result.filling = filling;
  Progress progress("eval", "pass key, memory " + memory_use_name(use), "prompts",
                    static_cast<uint64_t>(options.trials));
  for (int64_t first = 0; first < options.trials;) {
    int64_t n = std::min(rows, options.trials - first);
    if (options.trials - first - n == 1) n = n > 2 ? n - 1 : n + 1;  // nobody stays alone
    const Prompts own = draw(tokenizer, filling, seed, static_cast<uint64_t>(first), n, segment);
    State state = model.initial(n);
    std::vector<TokenIds> rest = own.ids;
    if (use != MemoryUse::on) {
      for (size_t r = 0; r < rest.size(); ++r) rest[r].erase(rest[r].begin(), rest[r].begin() + own.heads[r]);
    }
    if (use == MemoryUse::shuffled) state = memory_of(model, own, *segment, /*shuffled=*/true);
    if (use == MemoryUse::foreign) {
      const Prompts other =
          draw(tokenizer, filling, seed, kForeign + static_cast<uint64_t>(first), n, segment);
      state = memory_of(model, other, *segment, /*shuffled=*/false);
    }
    const auto answers = generate(model, &tokenizer, rest, end_ids, generation, seed, state);
    for (size_t r = 0; r < answers.size(); ++r) {
      const PasskeyExample& example = own.examples[r];
      const bool right = passkey_right(example, answers[r].text);
      ++result.all.asked;
      result.all.right += right;
      if (key_in_head(tokenizer, own, r)) {
        ++result.remembered.asked;
        result.remembered.right += right;
      }
      result.tokens += static_cast<double>(own.ids[r].size()) / static_cast<double>(options.trials);
      if (!right && result.wrong.size() < kShown)
        result.wrong.push_back(std::to_string(example.key) + ":" + answers[r].text);
    }
    progress.advance(static_cast<uint64_t>(n));
    first += n;
  }
  progress.finish();
  return result;
}

int64_t filling_of_tokens(const Tokenizer& tokenizer, int64_t tokens) {
  const auto size = [&](int64_t filling) {
    return static_cast<int64_t>(encode(tokenizer, passkey_prompt(filling, filling / 2, 31415)).size());
  };
  if (size(0) > tokens) {
    throw Error(Kind::usage, "a pass key without filling takes " + std::to_string(size(0)) +
                                 " tokens, more than " + std::to_string(tokens));
  }
  int64_t low = 0, high = 64;  // size(low) fits, size(high) does not
  while (size(high) <= tokens) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (size(middle) <= tokens ? low : high) = middle;
  }
  return low;
}

}  // namespace mneme
