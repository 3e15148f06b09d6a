#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/progress.h"
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

State rows_of(const State& state, int64_t first, int64_t count) {
  std::vector<int64_t> which(static_cast<size_t>(count));
  std::iota(which.begin(), which.end(), first);
  return state.select(which);
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

// The groups of all, without the parameters that other ranks update.
std::vector<ParameterGroup> owned_groups(const std::vector<Parameter>& trained,
                                         const OptimizerOptions& options, const Sharding* sharding) {
  std::vector<ParameterGroup> groups = parameter_groups(trained, options);
  if (!sharding) return groups;
  std::set<std::string> owned;
  for (const Parameter& p : sharding->owned()) owned.insert(p.name);
  for (ParameterGroup& g : groups) {
    g.parameters.erase(std::remove_if(g.parameters.begin(), g.parameters.end(),
                                      [&](const Parameter& p) { return owned.count(p.name) == 0; }),
                       g.parameters.end());
  }
  return groups;
}

}  // namespace

Trainer::Trainer(Model& model, const std::vector<Parameter>& trained, SampleSource& source,
                 TrainerSetup setup)
    : model_(model),
      source_(source),
      setup_(std::move(setup)),
      options_(setup_.options),
      trained_(trained),
      saved_(saved_parameters(model, trained)),
      sharding_(setup_.ranks ? std::make_unique<Sharding>(trained, *setup_.ranks) : nullptr),
      optimizer_(owned_groups(trained, options_.optimizer, sharding_.get()), options_.optimizer),
      checkpoints_(setup_.folder, options_.keep) {
  validate(options_);
  model_.decoder->recompute = options_.recompute;
  const int64_t vocabulary = model.decoder->config().vocab;
  if (source.vocabulary() > vocabulary) {
    throw Error(Kind::usage,
                "the data has " + std::to_string(source.vocabulary()) + " different tokens, the model " +
                    std::to_string(vocabulary),
                "set vocab_size in the config.json, or use the data's tokenizer");
  }
  if (setup_.ranks && options_.batch < setup_.ranks->size()) {
    throw Error(Kind::usage,
                "train.batch is " + std::to_string(options_.batch) + ", fewer texts than the " +
                    std::to_string(setup_.ranks->size()) + " ranks",
                "use a larger batch or fewer ranks");
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

double Trainer::gradients(int64_t step, const Sample& all) {
  const int64_t segment = training_segment(model_, all.ids.size(1));
  const Draws whole{{.seed = setup_.seed, .step = static_cast<uint64_t>(step)}, options_.dropout.rates, {}};
  const int64_t count = labelled_positions(model_, all, segment, &whole);
  int64_t begin = 0, end = all.ids.size(0);
  if (setup_.ranks) {
    const int64_t rows = end, rank = setup_.ranks->rank(), size = setup_.ranks->size();
    begin = rows * rank / size;
    end = rows * (rank + 1) / size;
    if (all.goes_on()) {
      throw Error(Kind::usage, "texts that go on from update to update are remembered by one process only",
                  "train with --nproc 1, or with data.layout windows or samples");
    }
  }
  const int64_t part = options_.micro_batch > 0 ? options_.micro_batch : end - begin;
  if (all.goes_on() && state_.texts.size() == 0) state_.texts = model_.initial(end);
  for (const Parameter& p : trained_) p.value().mutable_grad() = Tensor();
  double loss = 0;
  for (int64_t first = begin; first < end; first += part) {
    const Draws draws{
        {.seed = setup_.seed, .step = static_cast<uint64_t>(step), .row = static_cast<uint64_t>(first)},
        options_.dropout.rates,
        {}};
    std::function<void()> last_pass;
    if (sharding_ && first + part >= end) last_pass = [this] { sharding_->expect_gradients(); };
    const int64_t n = std::min(part, end - first);
    State texts = all.goes_on() ? rows_of(state_.texts, first, n) : model_.initial(n);
    loss += backward(model_, all.rows(first, n), segment, count, options_, &draws, &texts, last_pass).loss;
    if (!all.goes_on()) continue;
    texts = texts.compact();  // a resumed run goes on from what a file gives back
    std::move(texts.rows.begin(), texts.rows.end(), state_.texts.rows.begin() + first);
  }
  return loss;
}

double Trainer::apply(int64_t step, double loss) {
  const double rate = rate_factor(options_.schedule, step, options_.steps);
  if (!sharding_) return std::isfinite(loss) ? optimizer_.step(rate) : loss;
  const double mine = optimizer_.gradient_norm();
  const double norm = std::sqrt(setup_.ranks->sum({mine * mine})[0]);
  if (!std::isfinite(loss) || !std::isfinite(norm)) return norm;  // all ranks see the same
  optimizer_.update(rate, norm);
  sharding_->share_parameters();
  return norm;
}

Trainer::Step Trainer::update(int64_t step, const StopSignals& stop) {
  const Sample all = sample_of(step);
  Step out;
  out.tokens = all.ids.numel();
  out.loss = gradients(step, all);
  out.stop = stop.exit_code();
  if (sharding_) {
    sharding_->exchange_gradients();
    std::vector<double> told(static_cast<size_t>(setup_.ranks->size()) + 1, 0);
    told[static_cast<size_t>(setup_.ranks->rank())] = out.stop;
    told.back() = out.loss;
    told = setup_.ranks->sum(told);
    out.loss = told.back();
    out.stop = static_cast<int>(*std::max_element(told.begin(), told.end() - 1));
  }
  out.norm = apply(step, out.loss);
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
    const Step last = update(state_.step, stop);
    ++state_.step;
    tokens += last.tokens;
    progress.advance();
    progress.note("loss " + std::to_string(last.loss).substr(0, 6));
    const bool end = state_.step == options_.steps, due = state_.step % options_.save_every == 0 || end;
    if (state_.step % options_.log_every == 0 || due) {
      const double measured = log(last, now() - mark, tokens);
      if (due) save(measured);
      mark = now();
      tokens = 0;
    }
    if (last.stop == 0 || end) continue;
    if (!due) save(std::nan(""));
    log_info("train", "stopped after update {}; the same command goes on from there", state_.step);
    return last.stop;
  }
  progress.finish();
  take_best();
  return 0;
}

double Trainer::held_out(int64_t segments, nlohmann::json& line) const {
  if (options_.held_out == 0) return std::nan("");
  double loss = 0, accuracy = 0;
  Trace trace;
  for (int64_t i = 0; i < options_.held_out; ++i) {
    if (setup_.ranks && i % setup_.ranks->size() != setup_.ranks->rank()) continue;
    const Sample s = source_.held_out(static_cast<uint64_t>(i), options_.batch, segments);
    const Measured m = measure(model_, s, training_segment(model_, s.ids.size(1)), i == 0 ? &trace : nullptr);
    loss += m.loss / static_cast<double>(options_.held_out);
    accuracy += m.accuracy / static_cast<double>(options_.held_out);
  }
  if (setup_.ranks) {
    const std::vector<double> all = setup_.ranks->sum({loss, accuracy});
    loss = all[0];
    accuracy = all[1];
  }
  line["held_out_loss"] = loss;
  line["held_out_accuracy"] = accuracy;
  const nlohmann::json figures = method_figures(model_, trace);
  for (const auto& [name, value] : figures.items()) line[model_.options.method + "/" + name] = value;
  return loss;
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
  if (sharding_) line["gradients_sent_early"] = sharding_->share_sent_early();
  const double measured = held_out(segments, line);
  if (!first_rank()) return measured;
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
  const NamedTensors optimizer = optimizer_state();
  state_.data = source_.position();
  if (first_rank()) checkpoints_.save(state_, setup_.identity, saved_, optimizer);
  if (setup_.ranks) setup_.ranks->barrier();  // nobody goes on, or ends, before it stands
}

// Of all parameters, in their order: gathered from their owners, so that a checkpoint does not depend on the
// number of ranks.
NamedTensors Trainer::optimizer_state() const {
  if (!sharding_) return optimizer_.state();
  std::map<std::string, Tensor> mine;
  for (const auto& [name, t] : optimizer_.state()) mine[name] = t;
  NamedTensors out;
  for (size_t i = 0; i < trained_.size(); ++i) {
    for (auto& [name, t] : Optimizer::blank_state(trained_[i], options_.optimizer)) {
      if (const auto found = mine.find(name); found != mine.end()) t = found->second;
      setup_.ranks->broadcast(t, sharding_->owners()[i])();
      if (first_rank()) out.emplace_back(name, t);
    }
  }
  return out;
}

void Trainer::resume() {
  if (first_rank()) checkpoints_.clean();
  if (setup_.ranks) setup_.ranks->barrier();
  const Sample first = sample_of(0);
  flops_per_token_ = training_flops(model_, trained_, training_segment(model_, first.ids.size(1)));
  if (!checkpoints_.empty()) {
    const Checkpoints::Found found = checkpoints_.newest(setup_.identity, saved_);
    optimizer_.load(found.optimizer);
    load_weights(found.weights, saved_);
    state_ = found.state;
    if (!state_.data.is_null()) source_.restore(state_.data);
    log_info("train", "going on from {} at step {}", found.path, state_.step);
  }
  if (first_rank()) metrics_ = std::make_unique<Metrics>(setup_.folder, state_.step);
}

void Trainer::take_best() {
  if (options_.final != "best" || state_.best_step < 0 || state_.best_step == state_.step) return;
  load_weights(Checkpoints::weights_in(checkpoints_.path(state_.best_step), saved_), saved_);
  log_info("train", "the final model is that of step {}, held-out loss {:.4f}", state_.best_step,
           state_.best_loss);
}

}  // namespace mneme
