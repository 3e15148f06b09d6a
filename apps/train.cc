// mneme train: trains a model with any memory method, from scratch or from a folder; resumes by itself.
#include <chrono>
#include <filesystem>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/format.h"
#include "base/log.h"
#include "memory/model_folder.h"
#include "train/trainer.h"

namespace mneme {
extern const Command kTrainCommand;

namespace {

struct TrainCommandOptions {
  CommonOptions common;
  std::string model, architecture, out;
  bool merge = true;
  MemoryOptions memory;
  DataOptions data;
  TrainOptions train;
  void visit(OptionVisitor& v) {
    v.field("model", model, "folder of the model to go on with");
    v.field("architecture", architecture, "or a config.json for a model with random weights");
    v.required("out", out, "folder of the run: checkpoints, metrics, the final model");
    v.field(
        "merge", merge,
        "with LoRA, also save a whole model with the adapters merged (out/model) beside them (out/adapter)");
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

// Products of a size that the machine does well, so that a share of them says how well the rest does.
double gemm_rate(at::ScalarType type) {
  const at::NoGradGuard no_grad;
  Weight w(at::ones({1024, 1024}, type));
  const Tensor x = at::ones({512, 1024}, type);
  double best = 1e9;
  for (int i = 0; i < 12; ++i) {
    const auto start = std::chrono::steady_clock::now();
    linear(x, w);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * 512 * 1024 * 1024 / best;
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
  save_model(model, join_path(o.out, "model"), o.model);
  log_info("train", "{} parameters were trained; the model is {}", trained.size(), join_path(o.out, "model"));
}

int run(int argc, const char* const* argv) {
  TrainCommandOptions o;
  if (!read_options(kTrainCommand, argc, argv, o)) return 0;
  if (o.model.empty() == o.architecture.empty()) {
    throw Error(Kind::usage, "expected either --model or --architecture",
                "--architecture CONFIG.JSON starts from random weights");
  }
  validate(o.train);
  const at::Device device = o.common.device == "auto" ? at::Device(at::kCPU) : parse_device(o.common.device);
  const at::ScalarType activations = compute_dtype(o.common.dtype, device);
  const auto seed = static_cast<uint64_t>(o.common.seed);
  Model model = open_model(o, activations);
  const std::vector<Parameter> trained =
      prepare_training(model, o.train.trainable, device, activations, seed);
  const std::unique_ptr<SampleSource> source = make_source(o.data, seed);
  make_folders(o.out);
  write_file(join_path(o.out, "config.toml"), options_to_toml(OptionTable(o)));
  int64_t count = 0;
  for (const Parameter& p : trained) count += p.value().numel();
  log_info("train", "{} of {} parameters trained, products in {}, method {}, {} updates of {} texts",
           format_count(static_cast<double>(count)),
           format_count(static_cast<double>(parameter_count(model.decoder->config()))),
           dtype_name(activations), model.options.method, o.train.steps, o.train.batch);
  TrainerSetup setup{o.train, seed, o.out, options_json(o.data), 0};
  if (device.is_cpu()) setup.peak_flops = gemm_rate(activations);
  Trainer trainer(model, trained, *source, std::move(setup));
  const int code = trainer.run();
  if (code == 0) save_result(model, trained, o);
  return code;
}

}  // namespace

const Command kTrainCommand = {"train", "train a model with any memory method",
                               "mneme train --config RUN.toml [--section.key value]...",
                               "mneme train --config configs/recall-rmt.toml --out runs/recall-rmt", run};

}  // namespace mneme
