// mneme train: trains a model with any memory method, from scratch or from a folder; resumes by itself.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/format.h"
#include "base/json.h"
#include "base/log.h"
#include "base/threads.h"
#include "io/hf_folder.h"
#include "memory/model_folder.h"
#include "text/tokenizer_files.h"
#include "train/collectives.h"
#include "train/estimate.h"
#include "train/launch.h"
#include "train/measure.h"
#include "train/trainer.h"

namespace mneme {
extern const Command kTrainCommand;

namespace {

struct TrainCommandOptions {
  CommonOptions common;
  std::string model, architecture, out;
  bool merge = true, dry_run = false;
  int64_t nproc = 1;
  MemoryOptions memory;
  DataOptions data;
  TrainOptions train;
  void visit(OptionVisitor& v) {
    v.field("model", model, "folder of the model to go on with");
    v.field("architecture", architecture, "or a config.json for a model with random weights");
    v.field("out", out, "folder of the run: checkpoints, metrics, the final model");
    v.field("dry_run", dry_run,
            "only count: parameters, memory, tokens, arithmetic and time; needs neither weights nor data");
    v.field(
        "merge", merge,
        "with LoRA, also save a whole model with the adapters merged (out/model) beside them (out/adapter)");
    v.field("nproc", nproc,
            "processes on this machine that share each batch (data parallel); torchrun's environment is "
            "understood, too");
    v.section("memory", memory, "the memory method");
    v.section("data", data, "what is read");
    v.section("train", train, "the loop");
    common.visit(v);
  }
};

Model open_model(const TrainCommandOptions& o, at::ScalarType activations) {
  const auto seed = static_cast<uint64_t>(o.common.seed);
  if (!o.architecture.empty()) return fresh_model(o.architecture, o.memory, seed);
  ModelLoad load;
  load.seed = seed;
  if (o.memory.method != "none") load.memory = o.memory;
  // A backbone that stays as it is need not be widened on the way.
  if (o.train.trainable.lora.rank > 0) load.weights = activations;
  return load_model(o.model, load);
}

// What the model's ids mean: the tokenizer that is named, or that of the prepared data, or the former
// model's.
std::string tokenizer_of(const TrainCommandOptions& o) {
  if (!o.data.tokenizer.empty()) return o.data.tokenizer;
  if (o.data.kind == "tokens" && is_folder(o.data.train) &&
      !HfFolder::open(o.data.train).tokenizer_files().empty()) {
    return o.data.train;
  }
  return o.model;
}

void save_result(const Model& model, const std::vector<Parameter>& trained, const TrainCommandOptions& o) {
  const LoraOptions& lora = o.train.trainable.lora;
  if (lora.rank > 0) {
    std::vector<Parameter> whole;
    for (const Parameter& p : model.decoder->parameters()) {
      if (p.value().requires_grad()) whole.push_back(p);
    }
    save_adapter(model, lora, whole, o.model.empty() ? "" : std::filesystem::absolute(o.model).string(),
                 join_path(o.out, "adapter"));
    if (!o.merge) return;
    merge_lora(*model.decoder);
  }
  save_model(model, join_path(o.out, "model"), tokenizer_of(o));
  log_info("train", "{} parameters were trained; the model is {}", trained.size(), join_path(o.out, "model"));
}

double available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("MemAvailable:", 0) == 0) return 1024.0 * std::stod(line.substr(13));
  }
  return 0;
}

int dry_run(const TrainCommandOptions& o, at::ScalarType activations) {
  const std::string config =
      o.model.empty() ? o.architecture : join_path(backbone_folder(o.model), "config.json");
  MemoryOptions memory = o.memory;
  if (!o.model.empty() && memory.method == "none") memory = stored_memory(HfFolder::open(o.model));
  const Model shape = shape_of_model(read_json(config), memory, o.train.trainable.lora);
  const int64_t segment = o.data.kind == "recall" ? o.data.recall.segment : o.data.segment;
  const TrainingEstimate e = estimate_training(shape, o.train, segment, activations);
  const TrainingRates rates = measure_training(shape.decoder->config(), o.train,
                                               e.segment + shape.memory->extra_slots(e.segment), activations);
  // A replay reads all but the last segment once more, forwards.
  const double again = o.train.backward == "replay" ? 4.0 / 3 : 1;
  const double seconds = again * e.flops / rates.passes +
                         static_cast<double>(o.train.steps) * static_cast<double>(e.trained) / rates.update;
  const double available = available_memory();
  if (o.common.json) {
    const nlohmann::json line = {{"parameters", e.parameters},
                                 {"trained", e.trained},
                                 {"segment", e.segment},
                                 {"longest_text", e.longest_text},
                                 {"tokens", e.tokens},
                                 {"flops", e.flops},
                                 {"bytes",
                                  {{"weights", e.weights},
                                   {"packed", e.packed},
                                   {"gradients", e.gradients},
                                   {"optimizer", e.optimizer},
                                   {"activations", e.activations},
                                   {"all", e.bytes()},
                                   {"available", available}}},
                                 {"measured",
                                  {{"layers", rates.layers},
                                   {"width", rates.width},
                                   {"tokens", rates.tokens},
                                   {"flops_per_second", rates.passes},
                                   {"updated_parameters_per_second", rates.update},
                                   {"gemm_flops_per_second", rates.gemm}}},
                                 {"seconds", seconds}};
    std::printf("%s\n", line.dump().c_str());
    return 0;
  }
  const auto row = [](const char* name, const std::string& value) {
    std::printf("%-14s%s\n", name, value.c_str());
  };
  row("method", memory.method);
  row("parameters", format_count(static_cast<double>(e.parameters)) + ", " +
                        format_count(static_cast<double>(e.trained)) + " trained");
  row("texts", fmt::format("{} of {} tokens at most, read in segments of {}",
                           format_grouped(static_cast<uint64_t>(o.train.steps * o.train.batch)),
                           e.longest_text, e.segment));
  row("tokens", format_count(e.tokens));
  row("arithmetic", format_count(e.flops) + "FLOP");
  row("memory", format_bytes(e.bytes()) +
                    (available > 0 ? ", " + format_bytes(available) + " are free here" : "") +
                    (e.bytes() > available && available > 0 ? ": too little" : ""));
  for (const auto& [name, bytes] :
       {std::pair{"  weights", e.weights}, std::pair{"  packed", e.packed},
        std::pair{"  gradients", e.gradients}, std::pair{"  optimizer", e.optimizer},
        std::pair{"  activations", e.activations}}) {
    row(name, format_bytes(bytes));
  }
  row("time", fmt::format("{} on this machine, as it trains now", format_duration(seconds)));
  row("  passes",
      fmt::format("{}FLOP/s, {:.0f}% of the {}FLOP/s of {} products", format_count(rates.passes),
                  100 * rates.passes / rates.gemm, format_count(rates.gemm), dtype_name(activations)));
  row("  updates", fmt::format("{} parameters a second", format_count(rates.update)));
  row("  measured", fmt::format("just now: {} layers of width {}, {} tokens a pass", rates.layers,
                                rates.width, rates.tokens));
  return 0;
}

// This command again, as so many ranks.
int run_ranks(const TrainCommandOptions& o, int argc, const char* const* argv) {
  std::vector<std::string> words(argv, argv + argc);
  if (o.common.threads == 0) {
    words.emplace_back("--threads");
    words.push_back(std::to_string(std::max<int64_t>(1, available_cores() / o.nproc)));
  }
  return launch_ranks(o.nproc, words, o.out);
}

int train(const TrainCommandOptions& o, at::Device device, at::ScalarType activations, Collectives* ranks) {
  const auto seed = static_cast<uint64_t>(o.common.seed);
  const bool first = !ranks || ranks->rank() == 0;
  Model model = open_model(o, activations);
  const std::vector<Parameter> trained =
      prepare_training(model, o.train.trainable, device, activations, seed);
  const std::unique_ptr<SampleSource> source = make_source(o.data, seed);
  // A wrong name is told before the training, not at its end.
  if (!o.data.tokenizer.empty()) tokenizer_file(o.data.tokenizer);
  make_folders(o.out);
  TrainCommandOptions written = o;
  if (first) write_file(join_path(o.out, "config.toml"), options_to_toml(OptionTable(written)));
  int64_t count = 0;
  for (const Parameter& p : trained) count += p.value().numel();
  log_info("train", "{} of {} parameters trained, products in {}, method {}, {} updates of {} texts",
           format_count(static_cast<double>(count)),
           format_count(static_cast<double>(parameter_count(model.decoder->config()))),
           dtype_name(activations), model.options.method, o.train.steps, o.train.batch);
  TrainerSetup setup{o.train, seed, o.out, options_json(o.data), 0, ranks};
  if (device.is_cpu()) setup.peak_flops = gemm_rate(activations);
  if (ranks) setup.peak_flops = ranks->sum({setup.peak_flops})[0];
  Trainer trainer(model, trained, *source, std::move(setup));
  const int code = trainer.run();
  if (code == 0 && first) save_result(model, trained, o);
  if (ranks) ranks->barrier();
  return code;
}

int run_train(int argc, const char* const* argv) {
  TrainCommandOptions o;
  if (!read_options(kTrainCommand, argc, argv, o)) return 0;
  if (o.model.empty() == o.architecture.empty()) {
    throw Error(Kind::usage, "expected either --model or --architecture",
                "--architecture CONFIG.JSON starts from random weights");
  }
  validate(o.train);
  const at::Device device = o.common.device == "auto" ? at::Device(at::kCPU) : parse_device(o.common.device);
  const at::ScalarType activations = compute_dtype(o.common.dtype, device);
  if (o.dry_run) return dry_run(o, activations);
  if (o.out.empty()) throw Error(Kind::usage, "--out is missing", "name the folder of the run");
  if (o.nproc < 1) throw Error(Kind::usage, "--nproc must be positive, found " + std::to_string(o.nproc));
  if (o.nproc > 1 && !is_rank()) return run_ranks(o, argc, argv);
  follow_launcher();
  const std::unique_ptr<Collectives> ranks = Collectives::from_environment();
  if (!ranks) return train(o, device, activations, nullptr);
  try {
    return train(o, device, activations, ranks.get());
  } catch (const std::exception& e) {
    ranks->tell_failure(e.what());
    throw;
  }
}

}  // namespace

const Command kTrainCommand = {"train", "train a model with any memory method",
                               "mneme train --config RUN.toml --out DIR [--section.key value]...",
                               "mneme train --config configs/recall-rmt.toml --out runs/recall-rmt",
                               run_train};

}  // namespace mneme
