// Samples out of prepared folders (data/prepare.h), laid out by the loader (data/loader.h).
#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "data/loader.h"
#include "train/sample_source.h"

namespace mneme {
namespace {

Tensor tensor_of(const TokenBatch& batch, const std::vector<int32_t>& values) {
  const Tensor view =
      at::from_blob(const_cast<int32_t*>(values.data()), {batch.rows, batch.length}, at::kInt);
  return view.to(at::kLong);
}

// Windows or samples of one folder: a function of the step. The loader is where the last one left it, which
// saves a search.
class Reader {
 public:
  Reader(const TokenSet& tokens, const std::string& layout, bool shuffle, uint64_t seed)
      : tokens_(tokens), seed_(seed) {
    options_.layout = layout;
    options_.shuffle = shuffle;
  }
  Sample read(uint64_t step, int64_t rows, int64_t length) {
    if (!loader_ || options_.rows != rows || options_.length != length) {
      options_.rows = rows;
      options_.length = length;
      loader_.emplace(tokens_, options_, seed_);
    }
    loader_->seek(static_cast<int64_t>(step));
    const TokenBatch batch = loader_->next();
    return {tensor_of(batch, batch.ids), tensor_of(batch, batch.labels)};
  }

 private:
  const TokenSet& tokens_;
  LoaderOptions options_;
  uint64_t seed_;
  std::optional<Loader> loader_;
};

// Rows that go through their documents, one piece of the loader for each segment. How far they are depends on
// the segments of all steps before, hence the positions.
class Walker {
 public:
  Walker(const TokenSet& tokens, int64_t segment, bool shuffle, uint64_t seed)
      : tokens_(tokens), seed_(seed) {
    options_.layout = "documents";
    options_.length = segment;
    options_.shuffle = shuffle;
    options_.allow_unlabelled = true;  // one piece is; the trainer looks at all of an update
  }
  Sample read(uint64_t step, int64_t rows, int64_t segments) {
    if (!loader_) {
      options_.rows = rows;
      loader_.emplace(tokens_, options_, seed_);
      if (places_.empty()) places_.emplace(0, loader_->position());
    }
    const auto known = places_.find(step);
    MNEME_CHECK(known != places_.end() && options_.rows == rows, "samples of documents follow each other");
    const nlohmann::json here = known->second;
    if (at_ != step) loader_->restore(here);
    std::vector<Tensor> ids, labels, reset, count;
    for (int64_t s = 0; s < segments; ++s) {
      const TokenBatch batch = loader_->next();
      ids.push_back(tensor_of(batch, batch.ids));
      labels.push_back(tensor_of(batch, batch.labels));
      count.push_back(at::tensor(batch.count, at::kLong));
      reset.push_back(at::tensor(std::vector<int64_t>(batch.reset.begin(), batch.reset.end()), at::kLong));
    }
    at_ = step + 1;
    places_ = {{step, here}, {at_, loader_->position()}};
    return {at::cat(ids, 1), at::cat(labels, 1), at::stack(reset, 1).to(at::kBool), at::stack(count, 1)};
  }
  nlohmann::json position() const { return {{"step", at_}, {"loader", places_.at(at_)}}; }
  void restore(const nlohmann::json& position) {
    const JsonReader reader(position, "data position");
    const auto step = static_cast<uint64_t>(reader.integer_in("step", 0, int64_t{1} << 40));
    places_ = {{step, reader.at("loader")}};
    at_ = kNowhere;
  }

 private:
  static constexpr uint64_t kNowhere = ~uint64_t{0};
  const TokenSet& tokens_;
  LoaderOptions options_;
  uint64_t seed_;
  std::optional<Loader> loader_;
  std::map<uint64_t, nlohmann::json> places_;  // before the last step, and after it
  uint64_t at_ = 0;                            // the step that the loader stands before
};

class TokenSource : public SampleSource {
 public:
  TokenSource(const DataOptions& o, uint64_t seed) : segment_(o.segment) {
    if (o.train.empty())
      throw Error(Kind::usage, "data.train is not set", "name a folder that 'mneme data prepare' made");
    if (o.segment < 1) throw Error(Kind::usage, "data.segment must be positive");
    train_.emplace(TokenSet::open(o.train));
    const bool walk = o.layout == "documents";
    if (walk) {
      walker_ = std::make_unique<Walker>(*train_, o.segment, o.shuffle, seed);
    } else {
      reader_ = std::make_unique<Reader>(*train_, o.layout, o.shuffle, seed);
    }
    if (o.valid.empty()) return;
    valid_.emplace(TokenSet::open(o.valid));
    // Of documents their begins are held out, so that every measurement sees the same.
    held_out_ = std::make_unique<Reader>(*valid_, walk ? "samples" : o.layout, o.shuffle && !walk, seed);
    const uint64_t a = train_->tokenizer(), b = valid_->tokenizer();
    if (a != b && a != 0 && b != 0)
      throw Error(Kind::input, o.valid + ": prepared with another tokenizer than " + o.train);
  }
  Sample train(uint64_t step, int64_t rows, int64_t segments) override {
    return walker_ ? walker_->read(step, rows, segments) : reader_->read(step, rows, segments * segment_);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    if (!held_out_)
      throw Error(Kind::usage, "data.valid is not set", "name a prepared folder, or set train.held_out to 0");
    return held_out_->read(index, rows, segments * segment_);
  }
  int64_t vocabulary() const override {
    return std::max(train_->vocabulary(), valid_ ? valid_->vocabulary() : 0);
  }
  nlohmann::json position() const override { return walker_ ? walker_->position() : nlohmann::json(); }
  void restore(const nlohmann::json& position) override {
    if (walker_) walker_->restore(position);
  }

 private:
  int64_t segment_;
  std::optional<TokenSet> train_, valid_;
  std::unique_ptr<Walker> walker_;
  std::unique_ptr<Reader> reader_, held_out_;
};

}  // namespace

std::unique_ptr<SampleSource> make_token_source(const DataOptions& options, uint64_t seed) {
  return std::make_unique<TokenSource>(options, seed);
}

}  // namespace mneme
