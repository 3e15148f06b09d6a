// mneme train: trains a model with any memory method, from scratch or from a folder; resumes by itself.
#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "memory/model_folder.h"
#include "train/trainer.h"

namespace mneme {
extern const Command kTrainCommand;

namespace {

struct TrainCommandOptions {
  CommonOptions common;
  std::string model, architecture, out;
  MemoryOptions memory;
  DataOptions data;
  TrainOptions train;
  void visit(OptionVisitor& v) {
    v.field("model", model, "folder of the model to go on with");
    v.field("architecture", architecture, "or a config.json for a model with random weights");
    v.required("out", out, "folder of the run: checkpoints, metrics.jsonl, the final model");
    v.section("memory", memory, "the memory method");
    v.section("data", data, "what is read");
    v.section("train", train, "the loop");
    common.visit(v);
  }
};

int run(int argc, const char* const* argv) {
  TrainCommandOptions o;
  if (!read_options(kTrainCommand, argc, argv, o)) return 0;
  if (o.model.empty() == o.architecture.empty()) {
    throw Error(Kind::usage, "expected either --model or --architecture",
                "--architecture CONFIG.JSON starts from random weights");
  }
  const auto seed = static_cast<uint64_t>(o.common.seed);
  const at::ScalarType dtype = o.common.dtype == "auto" ? at::kFloat : parse_dtype(o.common.dtype);
  const at::Device device = o.common.device == "auto" ? at::Device(at::kCPU) : parse_device(o.common.device);
  Model model;
  if (o.architecture.empty()) {
    ModelLoad load;
    load.seed = seed;
    if (o.memory.method != "none") load.memory = o.memory;
    model = load_model(o.model, load);
  } else {
    model = fresh_model(o.architecture, o.memory, seed);
  }
  model.decoder->to(device, at::kFloat, dtype);  // master weights stay fp32
  model.memory->to(device, at::kFloat);
  const std::unique_ptr<SampleSource> source = make_source(o.data, seed);
  make_folders(o.out);
  write_file(join_path(o.out, "config.toml"), options_to_toml(OptionTable(o)));
  log_info("train", "{} parameters, method {}, {} updates of {} texts",
           parameter_count(model.decoder->config()), model.options.method, o.train.steps, o.train.batch);
  Trainer trainer(model, *source, o.train, seed, o.out);
  const int code = trainer.run();
  if (code == 0) save_model(model, join_path(o.out, "model"), o.model);
  return code;
}

}  // namespace

const Command kTrainCommand = {"train", "train a model with any memory method",
                               "mneme train --config RUN.toml [--section.key value]...",
                               "mneme train --config configs/recall-rmt.toml --out runs/recall-rmt", run};

}  // namespace mneme
