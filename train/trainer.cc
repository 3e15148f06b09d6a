#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"
#include "model/load.h"

namespace mneme {
namespace {

namespace fs = std::filesystem;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string checkpoint_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%09lld", static_cast<long long>(step));
  return name;
}

// Names of whole checkpoints, oldest first; what a killed save left ends in ".part".
std::vector<std::string> checkpoints(const std::string& folder) {
  std::vector<std::string> out;
  const std::string at = join_path(folder, "checkpoints");
  if (!is_folder(at)) return out;
  for (const auto& entry : fs::directory_iterator(at)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("step-", 0) == 0 && name.find('.') == std::string::npos) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

NamedTensors weights_of(const std::vector<Parameter>& parameters) {
  NamedTensors out;
  for (const Parameter& p : parameters) out.emplace_back(p.name, p.value().detach());
  return out;
}

// Lines of a killed run that lie behind the checkpoint are cut off, so that every step stands there once.
void trim_metrics(const std::string& path, int64_t step) {
  if (!file_exists(path)) return;
  std::ifstream in(path);
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
    if (!j.is_discarded() && j.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  write_file(path, kept);
}

}  // namespace

Trainer::Trainer(Model& model, const SampleSource& source, const TrainOptions& options, uint64_t seed,
                 std::string folder)
    : model_(model),
      source_(source),
      options_(options),
      seed_(seed),
      folder_(std::move(folder)),
      segment_(0),
      optimizer_(
          [&] {
            for (const Parameter& p : model.parameters()) p.value().set_requires_grad(true);
            return model.parameters();
          }(),
          options.optimizer) {
  if (options_.segments.empty() || options_.steps <= 0 || options_.batch <= 0) {
    throw Error(Kind::usage, "train: expected positive steps and batch, and at least one number of segments");
  }
  for (int64_t n : options_.segments) {
    if (n <= 0)
      throw Error(Kind::usage, "train.segments: expected positive numbers, found " + std::to_string(n));
  }
  if (options_.backward == "replay" && options_.depth > 0) {
    throw Error(Kind::usage, "train.backward replay goes back through all segments; train.depth must be -1");
  }
  const int64_t vocabulary = model.decoder->config().vocab;
  if (source.vocabulary() > vocabulary) {
    throw Error(Kind::usage,
                "the data has " + std::to_string(source.vocabulary()) + " different tokens, the model " +
                    std::to_string(vocabulary),
                "set vocab_size in the config.json");
  }
  make_folders(join_path(folder_, "checkpoints"));
}

int64_t Trainer::segments_at(int64_t step) const {
  const auto levels = static_cast<int64_t>(options_.segments.size());
  return options_.segments[static_cast<size_t>(std::min(levels - 1, step * levels / options_.steps))];
}

int Trainer::run() {
  StopSignals stop;
  const int64_t first = resume();
  Progress progress("train", "training", "steps", static_cast<uint64_t>(options_.steps));
  progress.start_from(static_cast<uint64_t>(first));
  double mark = now();
  int64_t tokens = 0;
  for (int64_t step = first; step < options_.steps; ++step) {
    const int64_t segments = segments_at(step);
    const Sample sample = source_.train(static_cast<uint64_t>(step), options_.batch, segments);
    segment_ = training_segment(model_, sample.ids.size(1));
    const Draws draws{{.seed = seed_, .step = static_cast<uint64_t>(step)}};
    optimizer_.zero_gradients();
    const StepResult result = options_.backward == "replay"
                                  ? replayed_backward(model_, sample, segment_, &draws)
                                  : unrolled_backward(model_, sample, segment_, options_, &draws);
    const double norm = std::isfinite(result.loss)
                            ? optimizer_.step(rate_factor(options_.schedule, step, options_.steps))
                            : result.loss;
    if (!std::isfinite(norm)) {
      throw Error(Kind::numeric,
                  "step " + std::to_string(step) + ": the loss is " + std::to_string(result.loss) +
                      " and the gradients' norm " + std::to_string(norm),
                  "the last checkpoint in " + folder_ +
                      " is whole; lower --train.optimizer.lr, add warm-up, or use fp32");
    }
    tokens += sample.ids.numel();
    progress.advance();
    progress.note("loss " + std::to_string(result.loss).substr(0, 6));
    const int64_t done = step + 1;
    if (done % options_.log_every == 0 || done == options_.steps) {
      log(done, result, norm, now() - mark, tokens);
      mark = now();
      tokens = 0;
    }
    if (done % options_.save_every == 0 || done == options_.steps || stop.requested()) save(done);
    if (stop.requested()) return stop.exit_code();
  }
  progress.finish();
  return 0;
}

void Trainer::log(int64_t step, const StepResult& last, double norm, double seconds, int64_t tokens) {
  Measured sum;
  for (int64_t i = 0; i < options_.held_out; ++i) {
    const Sample s = source_.held_out(static_cast<uint64_t>(i), options_.batch, segments_at(step - 1));
    const Measured m = measure(model_, s, segment_);
    sum.loss += m.loss / static_cast<double>(options_.held_out);
    sum.accuracy += m.accuracy / static_cast<double>(options_.held_out);
  }
  nlohmann::json line = {
      {"step", step},
      {"segments", segments_at(step - 1)},
      {"loss", last.loss},
      {"gradient_norm", norm},
      {"rate", options_.optimizer.lr * rate_factor(options_.schedule, step - 1, options_.steps)},
      {"tokens_per_second", seconds > 0 ? static_cast<double>(tokens) / seconds : 0}};
  if (options_.held_out > 0) {
    line["held_out_loss"] = sum.loss;
    line["held_out_accuracy"] = sum.accuracy;
  }
  std::ofstream(join_path(folder_, "metrics.jsonl"), std::ios::app) << line.dump() << "\n";
  log_event(
      LogLevel::info, "train",
      fmt::format("step {} segments {} loss {:.4f} held out {:.4f} accuracy {:.3f} norm {:.2f} {:.0f} tok/s",
                  step, segments_at(step - 1), last.loss, sum.loss, sum.accuracy, norm,
                  seconds > 0 ? static_cast<double>(tokens) / seconds : 0),
      line);
}

void Trainer::save(int64_t step) const {
  const std::string all = join_path(folder_, "checkpoints"), target = join_path(all, checkpoint_name(step)),
                    part = target + ".part";
  fs::remove_all(part);
  make_folders(part);
  write_safetensors(join_path(part, "weights.safetensors"), weights_of(optimizer_.parameters()));
  write_safetensors(join_path(part, "optimizer.safetensors"), optimizer_.state());
  const nlohmann::json trainer = {
      {"format", "mneme-checkpoint-1"}, {"step", step}, {"seed", seed_}, {"options", options_json(options_)}};
  write_file(join_path(part, "trainer.json"), dump_json(trainer, 2) + "\n");
  fs::remove_all(target);
  fs::rename(part, target);
  const std::vector<std::string> names = checkpoints(folder_);
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(1, options_.keep)) < names.size(); ++i) {
    fs::remove_all(join_path(all, names[i]));
  }
}

int64_t Trainer::resume() {
  const std::vector<std::string> names = checkpoints(folder_);
  if (names.empty()) {
    trim_metrics(join_path(folder_, "metrics.jsonl"), -1);
    return 0;
  }
  const std::string at = join_path(join_path(folder_, "checkpoints"), names.back());
  const nlohmann::json json = read_json(join_path(at, "trainer.json"));
  const JsonReader trainer(json, join_path(at, "trainer.json"));
  if (trainer.at("options") != options_json(options_) ||
      trainer.integer("seed") != static_cast<int64_t>(seed_)) {
    throw Error(Kind::usage, at + ": this run was started with other training options or another seed",
                "use the same configuration, or another --out folder");
  }
  const SafetensorsFile weights = SafetensorsFile::open(join_path(at, "weights.safetensors"));
  const SafetensorsFile state = SafetensorsFile::open(join_path(at, "optimizer.safetensors"));
  for (const auto& [name, t] : weights_of(optimizer_.parameters())) {
    if (!weights.contains(name) || weights.info(name).shape != t.sizes().vec()) {
      throw Error(Kind::input, weights.where() + ": '" + name +
                                   "' is missing or of another shape, expected " + describe(t));
    }
  }
  optimizer_.load(state);
  const at::NoGradGuard no_grad;
  for (const Parameter& p : optimizer_.parameters()) p.value().copy_(weights.tensor(p.name));
  const int64_t step = trainer.integer_in("step", 0, options_.steps);
  trim_metrics(join_path(folder_, "metrics.jsonl"), step);
  log_info("train", "going on from {} at step {}", at, step);
  return step;
}

}  // namespace mneme
