// Samples out of prepared folders (data/prepare.h), laid out by the loader (data/loader.h).
#include <optional>

#include "base/error.h"
#include "data/loader.h"
#include "train/sample_source.h"

namespace mneme {
namespace {

// One folder and the loader over it. The loader is where the last sample left it, which saves a search; what
// it gives depends on the step alone.
class Reader {
 public:
  Reader(const std::string& path, const DataOptions& o, uint64_t seed)
      : tokens_(TokenSet::open(path)), seed_(seed) {
    options_.layout = o.layout;
    options_.shuffle = o.shuffle;
    options_.segment = o.segment;
  }
  Sample read(uint64_t step, int64_t rows, int64_t length) {
    if (!loader_ || options_.rows != rows || options_.length != length) {
      options_.rows = rows;
      options_.length = length;
      loader_.emplace(tokens_, options_, seed_);
    }
    loader_->seek(static_cast<int64_t>(step));
    const TokenBatch batch = loader_->next();
    const auto tensor = [&](const std::vector<int32_t>& values) {
      const Tensor view = at::from_blob(const_cast<int32_t*>(values.data()), {rows, batch.length}, at::kInt);
      return view.to(at::kLong);
    };
    return {tensor(batch.ids), tensor(batch.labels)};
  }
  const TokenSet& tokens() const { return tokens_; }

 private:
  TokenSet tokens_;
  LoaderOptions options_;
  uint64_t seed_;
  std::optional<Loader> loader_;
};

class TokenSource : public SampleSource {
 public:
  TokenSource(const DataOptions& o, uint64_t seed) : segment_(o.segment) {
    if (o.train.empty())
      throw Error(Kind::usage, "data.train is not set", "name a folder that 'mneme data prepare' made");
    if (o.segment < 1) throw Error(Kind::usage, "data.segment must be positive");
    train_ = std::make_unique<Reader>(o.train, o, seed);
    if (o.valid.empty()) return;
    valid_ = std::make_unique<Reader>(o.valid, o, seed);
    const uint64_t a = train_->tokens().tokenizer(), b = valid_->tokens().tokenizer();
    if (a != b && a != 0 && b != 0)
      throw Error(Kind::input, o.valid + ": prepared with another tokenizer than " + o.train);
  }
  Sample train(uint64_t step, int64_t rows, int64_t segments) const override {
    return train_->read(step, rows, segments * segment_);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    if (!valid_)
      throw Error(Kind::usage, "data.valid is not set", "name a prepared folder, or set train.held_out to 0");
    return valid_->read(index, rows, segments * segment_);
  }
  int64_t vocabulary() const override {
    return std::max(train_->tokens().vocabulary(), valid_ ? valid_->tokens().vocabulary() : 0);
  }

 private:
  int64_t segment_;
  std::unique_ptr<Reader> train_, valid_;
};

}  // namespace

std::unique_ptr<SampleSource> make_token_source(const DataOptions& options, uint64_t seed) {
  return std::make_unique<TokenSource>(options, seed);
}

}  // namespace mneme
