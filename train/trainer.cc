#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"
#include "memory/state_file.h"
#include "train/estimate.h"

namespace mneme {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What may change between two starts of a run without changing what it computes.
nlohmann::json lasting(const TrainOptions& options) {
  nlohmann::json j = options_json(options);
  for (const char* key : {"log_every", "save_every", "keep", "held_out", "final", "divergence"}) j.erase(key);
  return j;
}

std::vector<Parameter> saved_parameters(const Model& model, const std::vector<Parameter>& trained) {
  std::vector<Parameter> out = trained;
  for (const Parameter& p : model.memory->parameters()) {
    const bool there =
        std::any_of(trained.begin(), trained.end(), [&](const Parameter& t) { return t.name == p.name; });
    if (!there) out.push_back(p);
  }
  return out;
}

Sample rows_of(const Sample& s, int64_t first, int64_t count) {
  return {s.ids.narrow(0, first, count), s.labels.narrow(0, first, count)};
}

}  // namespace

Trainer::Trainer(Model& model, const std::vector<Parameter>& trained, const SampleSource& source,
                 TrainerSetup setup)
    : model_(model),
      source_(source),
      setup_(std::move(setup)),
      options_(setup_.options),
      saved_(saved_parameters(model, trained)),
      optimizer_(trained, options_.optimizer),
      checkpoints_(setup_.folder, options_.keep) {
  validate(options_);
  const int64_t vocabulary = model.decoder->config().vocab;
  if (source.vocabulary() > vocabulary) {
    throw Error(Kind::usage,
                "the data has " + std::to_string(source.vocabulary()) + " different tokens, the model " +
                    std::to_string(vocabulary),
                "set vocab_size in the config.json, or use the data's tokenizer");
  }
  setup_.identity = {{"train", lasting(options_)},
                     {"seed", setup_.seed},
                     {"start", fingerprint(model_)},
                     {"data", std::move(setup_.identity)}};
}

int64_t Trainer::segments_at(int64_t step) const {
  const auto levels = static_cast<int64_t>(options_.segments.size());
  return options_.segments[static_cast<size_t>(std::min(levels - 1, step * levels / options_.steps))];
}

Sample Trainer::sample_of(int64_t step) const {
  Sample s = source_.train(static_cast<uint64_t>(step), options_.batch, segments_at(step));
  const int64_t text = s.ids.size(1), counted = options_.loss_segments * training_segment(model_, text);
  if (counted > 0 && counted < text) {
    s.labels = s.labels.clone();
    s.labels.narrow(1, 0, text - counted).fill_(-100);
  }
  return s;
}

Trainer::Step Trainer::update(int64_t step) {
  const Sample all = sample_of(step);
  const int64_t rows = all.ids.size(0), segment = training_segment(model_, all.ids.size(1));
  const int64_t part = options_.micro_batch > 0 ? std::min(options_.micro_batch, rows) : rows;
  const int64_t count = labelled_positions(all);
  optimizer_.zero_gradients();
  Step out;
  for (int64_t first = 0; first < rows; first += part) {
    const Draws draws{
        {.seed = setup_.seed, .step = static_cast<uint64_t>(step), .row = static_cast<uint64_t>(first)}};
    const Sample some = rows_of(all, first, std::min(part, rows - first));
    out.loss += backward(model_, some, segment, count, options_, &draws).loss;
  }
  out.norm = std::isfinite(out.loss) ? optimizer_.step(rate_factor(options_.schedule, step, options_.steps))
                                     : out.loss;
  out.tokens = all.ids.numel();
  LossGuard guard{state_.smoothed, state_.lowest};
  guard.observe(step, out.loss, out.norm, options_.divergence, setup_.folder);
  state_.smoothed = guard.smoothed;
  state_.lowest = guard.lowest;
  return out;
}

int Trainer::run() {
  StopSignals stop;
  resume();
  Progress progress("train", "training", "steps", static_cast<uint64_t>(options_.steps));
  progress.start_from(static_cast<uint64_t>(state_.step));
  double mark = now();
  int64_t tokens = 0;
  while (state_.step < options_.steps) {
    const Step last = update(state_.step);
    ++state_.step;
    tokens += last.tokens;
    progress.advance();
    progress.note("loss " + std::to_string(last.loss).substr(0, 6));
    const bool end = state_.step == options_.steps, stopped = stop.requested();
    const bool due = state_.step % options_.save_every == 0 || end;
    if (state_.step % options_.log_every == 0 || due) {
      const double measured = log(last, now() - mark, tokens);
      if (due) save(measured);
      mark = now();
      tokens = 0;
    }
    if (stopped && !end) {
      if (!due) save(std::nan(""));
      log_info("train", "stopped after update {}; the same command goes on from there", state_.step);
      return stop.exit_code();
    }
  }
  progress.finish();
  take_best();
  return stop.requested() ? stop.exit_code() : 0;
}

double Trainer::held_out(int64_t segments, nlohmann::json& line) const {
  Measured sum;
  Trace trace;
  for (int64_t i = 0; i < options_.held_out; ++i) {
    const Sample s = source_.held_out(static_cast<uint64_t>(i), options_.batch, segments);
    const Measured m = measure(model_, s, training_segment(model_, s.ids.size(1)), i == 0 ? &trace : nullptr);
    sum.loss += m.loss / static_cast<double>(options_.held_out);
    sum.accuracy += m.accuracy / static_cast<double>(options_.held_out);
  }
  if (options_.held_out == 0) return std::nan("");
  line["held_out_loss"] = sum.loss;
  line["held_out_accuracy"] = sum.accuracy;
  const nlohmann::json figures = method_figures(model_, trace);
  for (const auto& [name, value] : figures.items()) {
    line[model_.options.method + "/" + name] = value;
  }
  return sum.loss;
}

double Trainer::log(const Step& last, double seconds, int64_t tokens) {
  const int64_t step = state_.step, segments = segments_at(step - 1);
  const double rate = seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  nlohmann::json line = {
      {"step", step},
      {"segments", segments},
      {"loss", last.loss},
      {"gradient_norm", last.norm},
      {"rate", options_.optimizer.lr * rate_factor(options_.schedule, step - 1, options_.steps)},
      {"tokens_per_second", rate}};
  if (setup_.peak_flops > 0) line["share_of_gemm"] = rate * flops_per_token_ / setup_.peak_flops;
  const double measured = held_out(segments, line);
  metrics_->add(line);
  log_event(
      LogLevel::info, "train",
      fmt::format("step {} segments {} loss {:.4f}{} norm {:.2f} {:.0f} tok/s{}", step, segments, last.loss,
                  options_.held_out > 0 ? fmt::format(" held out {:.4f} accuracy {:.3f}", measured,
                                                      line["held_out_accuracy"].get<double>())
                                        : "",
                  last.norm, rate,
                  setup_.peak_flops > 0
                      ? fmt::format(" ({:.0f}% of GEMM)", 100 * line["share_of_gemm"].get<double>())
                      : ""),
      line);
  return measured;
}

void Trainer::save(double held_out_loss) {
  if (std::isfinite(held_out_loss) && (state_.best_step < 0 || held_out_loss < state_.best_loss)) {
    state_.best_step = state_.step;
    state_.best_loss = held_out_loss;
  }
  checkpoints_.save(state_, setup_.identity, saved_, optimizer_.state());
}

void Trainer::resume() {
  const Sample first = sample_of(0);
  flops_per_token_ = training_flops(model_, training_segment(model_, first.ids.size(1)));
  if (!checkpoints_.empty()) {
    const Checkpoints::Found found = checkpoints_.newest(setup_.identity, saved_);
    optimizer_.load(found.optimizer);
    load_weights(found.weights, saved_);
    state_ = found.state;
    log_info("train", "going on from {} at step {}", found.path, state_.step);
  }
  metrics_ = std::make_unique<Metrics>(setup_.folder, state_.step);
}

void Trainer::take_best() {
  if (options_.final != "best" || state_.best_step < 0 || state_.best_step == state_.step) return;
  load_weights(Checkpoints::weights_in(checkpoints_.path(state_.best_step), saved_), saved_);
  log_info("train", "the final model is that of step {}, held-out loss {:.4f}", state_.best_step,
           state_.best_loss);
}

}  // namespace mneme
