#include "infer/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "memory/read.h"

namespace mneme {
namespace {

// Text of one row as it grows; holds back what may become a stop text.
class TextEnd {
 public:
  // `before`: the token that the text follows. A tokenizer may leave out the first space of a text, but this
  // is none.
  TextEnd(const Tokenizer* tokenizer, const std::vector<std::string>& stop, int64_t before) : stop_(stop) {
    if (!tokenizer) return;
    decoder_.emplace(tokenizer->stream(/*skip_special=*/true));
    decoder_->push(static_cast<int32_t>(before));
  }
  // True when a stop text has come.
  bool push(int64_t id, std::string& out) {
    if (!decoder_) return false;
    return take(decoder_->push(static_cast<int32_t>(id)), out);
  }
  void finish(std::string& out) {
    if (!decoder_) return;
    take(decoder_->finish(), out);
    out += held_;
    held_.clear();
  }

 private:
  bool take(const std::string& text, std::string& out) {
    held_ += text;
    for (const std::string& s : stop_) {
      const size_t at = s.empty() ? std::string::npos : held_.find(s);
      if (at == std::string::npos) continue;
      out += held_.substr(0, at);
      held_.clear();
      return true;
    }
    size_t keep = 0;  // the longest end that is the beginning of a stop text
    for (const std::string& s : stop_) {
      for (size_t n = std::min(s.size(), held_.size()); n > keep; --n) {
        if (held_.compare(held_.size() - n, n, s, 0, n) == 0) keep = n;
      }
    }
    out += held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return false;
  }
  const std::vector<std::string>& stop_;
  std::optional<StreamDecoder> decoder_;
  std::string held_;
};

// One call of read() for rows of different length; logits behind each row's last token, [rows, V].
Tensor read_rows(const Model& model, const std::vector<std::vector<int64_t>>& ids, State& state) {
  size_t most = 0;
  Batch batch;
  for (const auto& row : ids) {
    most = std::max(most, row.size());
    batch.count.push_back(static_cast<int64_t>(row.size()));
  }
  batch.ids = at::zeros({static_cast<int64_t>(ids.size()), static_cast<int64_t>(most)}, at::kLong);
  bool same = true;
  for (size_t r = 0; r < ids.size(); ++r) {
    std::copy(ids[r].begin(), ids[r].end(), batch.ids.data_ptr<int64_t>() + static_cast<int64_t>(r * most));
    same = same && ids[r].size() == most;
  }
  if (same) batch.count.clear();
  const Tensor hidden = read(model, batch, state).hidden;  // [B, T, E]
  std::vector<Tensor> last;
  for (size_t r = 0; r < ids.size(); ++r)
    last.push_back(hidden[static_cast<int64_t>(r)][static_cast<int64_t>(ids[r].size()) - 1]);
  return model.decoder->logits(at::stack(last)).to(at::kCPU, at::kFloat).contiguous();
}

// The likeliest tokens with their log-probabilities, equal ones in the order of ids.
std::vector<std::pair<int64_t, double>> likeliest(const std::vector<float>& logits, int64_t count) {
  std::vector<int64_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  const auto n = static_cast<std::ptrdiff_t>(std::min(logits.size(), static_cast<size_t>(count)));
  const auto at = [&](int64_t id) { return logits[static_cast<size_t>(id)]; };
  std::partial_sort(order.begin(), order.begin() + n, order.end(),
                    [&](int64_t a, int64_t b) { return at(a) != at(b) ? at(a) > at(b) : a < b; });
  double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<double>(z) - at(order[0]));
  const double lse = at(order[0]) + std::log(sum);
  std::vector<std::pair<int64_t, double>> out;
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const int64_t id = order[static_cast<size_t>(i)];
    out.emplace_back(id, at(id) - lse);
  }
  return out;
}

// One call of generate(): the rows that are still running, and what becomes of each.
class Generator {
 public:
  Generator(const Model& model, const Tokenizer* tokenizer, const std::vector<int64_t>& end_ids,
            const GenerateOptions& options, uint64_t seed, const GenerateHooks& hooks)
      : model_(model),
        end_ids_(end_ids),
        options_(options),
        seed_(seed),
        hooks_(hooks),
        tokenizer_(tokenizer) {}

  std::vector<Completion> run(const std::vector<std::vector<int64_t>>& prompts, State& state) {
    running_ = std::move(state);
    Tensor logits = read_rows(model_, prompts, running_);
    fork(prompts, logits);
    while (!live_.empty()) {
      std::vector<std::vector<int64_t>> next;
      step(logits, next);
      if (hooks_.stopped && hooks_.stopped()) interrupt(next);
      if (!next.empty()) logits = read_rows(model_, next, running_);
      for (size_t i = 0; hooks_.on_read && i < live_.size(); ++i)
        hooks_.on_read(static_cast<int64_t>(live_[i]), running_.rows[i]);
    }
    state.rows = std::move(done_);
    return std::move(out_);
  }

 private:
  // A row for each sample: the prompt's state is shared, not copied.
  void fork(const std::vector<std::vector<int64_t>>& prompts, Tensor& logits) {
    std::vector<int64_t> from;
    for (size_t p = 0; p < prompts.size(); ++p) {
      for (int64_t n = 0; n < options_.samples; ++n) {
        from.push_back(static_cast<int64_t>(p));
        history_.push_back(prompts[p]);
        ends_.emplace_back(tokenizer_, options_.stop, prompts[p].back());
        live_.push_back(live_.size());
      }
    }
    if (options_.samples > 1) {
      running_ = running_.select(from);
      logits = logits.index_select(0, at::tensor(from, at::kLong)).contiguous();
    }
    out_.resize(live_.size());
    done_.resize(live_.size());
    for (size_t i = 0; hooks_.on_read && i < live_.size(); ++i)
      hooks_.on_read(static_cast<int64_t>(i), running_.rows[i]);
  }

  // Draws for every live row; rows that are over leave. `next`: what the others read.
  void step(const Tensor& logits, std::vector<std::vector<int64_t>>& next) {
    std::vector<size_t> still, place;
    for (size_t i = 0; i < live_.size(); ++i) {
      const size_t r = live_[i];
      const bool over = !out_[r].reason.empty() || full(out_[r]);
      if (!over)
        draw(r, logits.data_ptr<float>() + static_cast<int64_t>(i) * logits.size(1), running_.rows[i]);
      if (over || (!out_[r].reason.empty() && !options_.read_last)) {
        finish(r, running_.rows[i]);
        continue;
      }
      next.push_back({out_[r].ids.back()});
      still.push_back(r);
      place.push_back(i);
    }
    keep(still, place);
  }

  bool full(Completion& c) const {
    if (static_cast<int64_t>(c.ids.size()) < options_.max_tokens) return false;
    if (c.reason.empty()) c.reason = "length";
    return true;
  }

  void draw(size_t r, const float* line, const Row& row) {
    Completion& c = out_[r];
    std::vector<float> z(line, line + model_.decoder->config().vocab);
    for (int64_t id : model_.memory->unspoken())
      z[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
    if (options_.top_logprobs > 0) c.top.push_back(likeliest(z, options_.top_logprobs));
    // The place in the text, not in this call: a text that goes on draws as it would have at once.
    const Site site{.seed = seed_,
                    .row = static_cast<uint64_t>(options_.first_row) + r,
                    .draw = Draw::sample,
                    .position = static_cast<uint64_t>(row.position)};
    const Drawn drawn = draw_token(z, history_[r], options_.sampler, site);
    c.ids.push_back(drawn.id);
    c.logprobs.push_back(drawn.logprob);
    history_[r].push_back(drawn.id);
    std::string text;
    const bool ended = std::count(end_ids_.begin(), end_ids_.end(), drawn.id) > 0;
    const bool stopped = !ended && ends_[r].push(drawn.id, text);
    tell(r, text);
    if (ended || stopped) {
      c.reason = ended ? "end" : "stop";
    } else {
      full(c);
    }
  }

  void interrupt(std::vector<std::vector<int64_t>>& next) {
    for (const size_t r : live_) {
      if (out_[r].reason.empty()) out_[r].reason = "interrupted";
    }
    if (options_.read_last) return;
    for (size_t i = 0; i < live_.size(); ++i) finish(live_[i], running_.rows[i]);
    keep({}, {});
    next.clear();
  }

  void finish(size_t r, Row& row) {
    if (out_[r].reason != "stop") {
      std::string text;
      ends_[r].finish(text);
      tell(r, text);
    }
    done_[r] = std::move(row);
  }

  void keep(const std::vector<size_t>& rows, const std::vector<size_t>& places) {
    if (rows.size() < live_.size()) {
      State left;
      for (size_t i : places) left.rows.push_back(std::move(running_.rows[i]));
      running_ = std::move(left);
    }
    live_ = rows;
  }

  void tell(size_t r, const std::string& text) {
    out_[r].text += text;
    if (hooks_.on_text && !text.empty()) hooks_.on_text(static_cast<int64_t>(r), text);
  }

  const Model& model_;
  const std::vector<int64_t>& end_ids_;
  const GenerateOptions& options_;
  const uint64_t seed_;
  const GenerateHooks& hooks_;
  const Tokenizer* tokenizer_;
  State running_;
  std::vector<size_t> live_;  // rows that are running, in the order of running_
  std::vector<Completion> out_;
  std::vector<std::vector<int64_t>> history_;
  std::vector<TextEnd> ends_;
  std::vector<Row> done_;
};

void check(const std::vector<std::vector<int64_t>>& prompts, const Tokenizer* tokenizer,
           const GenerateOptions& options, const State& state) {
  check_generation(options);
  if (!options.stop.empty() && !tokenizer) throw Error(Kind::usage, "stop texts need a tokenizer");
  if (prompts.empty() || static_cast<int64_t>(prompts.size()) != state.size()) {
    throw Error(Kind::usage,
                std::to_string(prompts.size()) + " prompts for " + std::to_string(state.size()) + " texts");
  }
  for (const auto& p : prompts) {
    if (p.empty())
      throw Error(Kind::input, "an empty prompt: there is no token to go on from",
                  "give a prompt, or a tokenizer that adds one at the beginning");
  }
}

}  // namespace

void check_generation(const GenerateOptions& options) {
  check_sampler(options.sampler);
  const auto require = [](bool ok, const char* what) {
    if (!ok) throw Error(Kind::usage, std::string("generation: ") + what);
  };
  require(options.samples >= 1, "samples must be at least 1");
  require(options.max_tokens >= 0, "max_tokens must be at least 0");
  require(options.top_logprobs >= 0, "top_logprobs must be at least 0");
  for (const std::string& text : options.stop) require(!text.empty(), "a stop text is empty");
}

std::vector<Completion> generate(const Model& model, const Tokenizer* tokenizer,
                                 const std::vector<std::vector<int64_t>>& prompts,
                                 const std::vector<int64_t>& end_ids, const GenerateOptions& options,
                                 uint64_t seed, State& state, const GenerateHooks& hooks) {
  const at::NoGradGuard no_grad;
  check(prompts, tokenizer, options, state);
  return Generator(model, tokenizer, end_ids, options, seed, hooks).run(prompts, state);
}

}  // namespace mneme
