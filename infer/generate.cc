#include "infer/generate.h"

#include <algorithm>

#include "base/error.h"
#include "memory/read.h"

namespace mneme {
namespace {

// Text of one row as it grows; holds back what may become a stop text.
class TextEnd {
 public:
  TextEnd(const Tokenizer* tokenizer, const std::vector<std::string>& stop) : stop_(stop) {
    if (tokenizer) decoder_.emplace(tokenizer->stream(/*skip_special=*/true));
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

}  // namespace

std::vector<Completion> generate(const Model& model, const Tokenizer* tokenizer,
                                 const std::vector<std::vector<int64_t>>& prompts,
                                 const std::vector<int64_t>& end_ids, const GenerateOptions& options,
                                 uint64_t seed, State& state,
                                 const std::function<void(int64_t, const std::string&)>& on_text) {
  const at::NoGradGuard no_grad;
  check_sampler(options.sampler);
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
  const size_t rows = prompts.size();
  std::vector<Completion> out(rows);
  std::vector<std::vector<int64_t>> history = prompts;
  std::vector<TextEnd> ends;
  for (size_t r = 0; r < rows; ++r) ends.emplace_back(tokenizer, options.stop);
  std::vector<size_t> live(rows);
  for (size_t r = 0; r < rows; ++r) live[r] = r;
  std::vector<Row> done(rows);
  State running = std::move(state);
  std::vector<std::vector<int64_t>> next = prompts;
  const auto tell = [&](size_t r, const std::string& text) {
    out[r].text += text;
    if (on_text && !text.empty()) on_text(static_cast<int64_t>(r), text);
  };
  while (!live.empty()) {
    const Tensor logits = read_rows(model, next, running);
    std::vector<size_t> still, place;
    next.clear();
    for (size_t i = 0; i < live.size(); ++i) {
      const size_t r = live[i];
      Completion& c = out[r];
      if (c.reason.empty() && static_cast<int64_t>(c.ids.size()) >= options.max_tokens) c.reason = "length";
      if (c.reason.empty()) {
        const float* line = logits.data_ptr<float>() + static_cast<int64_t>(i) * logits.size(1);
        std::vector<float> z(line, line + logits.size(1));
        const Site site{.seed = seed, .row = r, .draw = Draw::sample, .position = history[r].size()};
        const Drawn drawn = draw_token(z, history[r], options.sampler, site);
        c.ids.push_back(drawn.id);
        c.logprobs.push_back(drawn.logprob);
        history[r].push_back(drawn.id);
        std::string text;
        const bool ended = std::count(end_ids.begin(), end_ids.end(), drawn.id) > 0;
        const bool stopped = !ended && ends[r].push(drawn.id, text);
        tell(r, text);
        if (ended || stopped) c.reason = ended ? "end" : "stop";
        next.push_back({drawn.id});  // read even when it is the last, so that the state knows the whole text
        still.push_back(r);
        place.push_back(i);
        continue;
      }
      if (c.reason != "stop") {
        std::string text;
        ends[r].finish(text);
        tell(r, text);
      }
      done[r] = std::move(running.rows[i]);
    }
    if (still.size() < live.size()) {
      State left;
      for (size_t i : place) left.rows.push_back(std::move(running.rows[i]));
      running = std::move(left);
    }
    live = std::move(still);
  }
  state.rows = std::move(done);
  return out;
}

}  // namespace mneme
