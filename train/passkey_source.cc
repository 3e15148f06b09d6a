// Samples of the pass-key task: one prompt with its answer a row, cut to fit by the length of its filling.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "data/tokenize.h"
#include "tasks/passkey.h"
#include "text/tokenizer.h"
#include "train/sample_source.h"

namespace mneme {
namespace {

class PasskeySource : public SampleSource {
 public:
  PasskeySource(const DataOptions& o, uint64_t seed) : options_(o.passkey), segment_(o.segment), seed_(seed) {
    if (o.tokenizer.empty())
      throw Error(Kind::usage, "data.tokenizer is not set", "name a model folder or a tokenizer file");
    if (o.segment < 1) throw Error(Kind::usage, "data.segment must be positive");
    if (options_.shortest < 0 || options_.shortest > 1)
      throw Error(Kind::usage, "data.passkey.shortest must be between 0 and 1");
    tokenizer_ = load_tokenizer(o.tokenizer);
    constexpr int64_t kProbe = 9000;
    bare_ = size_of(tokens_of(passkey_example(0, seed, 0)));
    characters_a_token_ =
        static_cast<double>(kProbe) / static_cast<double>(std::max<int64_t>(
                                          1, size_of(tokens_of(passkey_example(kProbe, seed, 0))) - bare_));
  }
  Sample train(uint64_t step, int64_t rows, int64_t segments) override {
    return prompts(step * static_cast<uint64_t>(rows), rows, segments);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    return prompts(kHeldOut + index * static_cast<uint64_t>(rows), rows, segments);
  }
  int64_t vocabulary() const override { return tokenizer_->vocab_size(); }

 private:
  static int64_t size_of(const TokenizedDocument& d) { return static_cast<int64_t>(d.ids.size()); }

  // Prompt and answer in one go, as a text would hold them; of it the answer counts.
  TokenizedDocument tokens_of(const PasskeyExample& example) const {
    Document document;
    document.text = example.prompt + " " + std::to_string(example.key) + ".";
    document.masked = true;
    document.trained = {{example.prompt.size(), document.text.size()}};
    document.add_end = false;
    return tokenize_document(document, *tokenizer_, {});
  }

  // As much filling as makes prompt and answer at most `most` tokens.
  TokenizedDocument fitting(uint64_t index, int64_t most) const {
    auto filling = static_cast<int64_t>(static_cast<double>(most - bare_) * characters_a_token_);
    for (;;) {
      TokenizedDocument made = tokens_of(passkey_example(std::max<int64_t>(0, filling), seed_, index));
      const int64_t over = size_of(made) - most;
      if (over <= 0) return made;
      if (filling <= 0) {
        throw Error(Kind::usage,
                    "a pass key without filling takes " + std::to_string(size_of(made) - 1) +
                        " tokens, a sample has " + std::to_string(most - 1),
                    "use more segments or longer ones");
      }
      filling -= static_cast<int64_t>(std::ceil(static_cast<double>(over) * characters_a_token_));
    }
  }

  Sample prompts(uint64_t first, int64_t rows, int64_t segments) const {
    const int64_t length = segments * segment_;
    Sample s{at::zeros({rows, length}, at::kLong), at::full({rows, length}, -100, at::kLong)};
    for (int64_t r = 0; r < rows; ++r) {
      const uint64_t index = first + static_cast<uint64_t>(r);
      Random random({.seed = seed_, .row = index, .draw = Draw::segment_length});
      const double share = options_.shortest + (1 - options_.shortest) * random.uniform();
      // The last token is only a label.
      const TokenizedDocument made =
          fitting(index, std::max(std::min(bare_ + 8, length + 1),
                                  static_cast<int64_t>(share * static_cast<double>(length + 1))));
      int64_t* ids = s.ids.data_ptr<int64_t>() + r * length;
      int64_t* labels = s.labels.data_ptr<int64_t>() + r * length;
      for (size_t t = 0; t + 1 < made.ids.size(); ++t) {
        ids[t] = made.ids[t];
        if (options_.all || made.trained[t + 1] != 0) labels[t] = made.ids[t + 1];
      }
    }
    return s;
  }

  PasskeyOptions options_;
  int64_t segment_;
  uint64_t seed_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t bare_ = 0;               // tokens without filling
  double characters_a_token_ = 1;  // of filling
};

}  // namespace

std::unique_ptr<SampleSource> make_passkey_source(const DataOptions& options, uint64_t seed) {
  return std::make_unique<PasskeySource>(options, seed);
}

}  // namespace mneme
