// mneme eval: what the memory is worth, measured with it on and in three ways off.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "base/error.h"
#include "eval/recall_eval.h"
#include "memory/model_folder.h"

namespace mneme {
extern const Command kEvalCommand;

namespace {

struct EvalOptions {
  CommonOptions common;
  std::string model;
  int64_t documents = 200, rows = 50;
  RecallTask recall;
  void visit(OptionVisitor& v) {
    v.required("model", model, "folder of the model");
    v.field("documents", documents, "documents of each measurement");
    v.field("rows", rows, "documents of a batch");
    v.section("recall", recall, "the associative recall task");
    common.visit(v);
  }
};

int run(int argc, const char* const* argv) {
  EvalOptions o;
  o.common.seed = 1000003;  // not the seed of a training
  if (!read_options(kEvalCommand, argc, argv, o)) return 0;
  ModelLoad load;
  if (o.common.dtype != "auto") load.activations = parse_dtype(o.common.dtype);
  if (o.common.device != "auto") load.device = parse_device(o.common.device);
  const Model model = load_model(o.model, load);
  if (o.recall.vocabulary() > model.decoder->config().vocab) {
    throw Error(Kind::usage, "the task has " + std::to_string(o.recall.vocabulary()) + " tokens, the model " +
                                 std::to_string(model.decoder->config().vocab));
  }
  for (const MemoryUse use : {MemoryUse::on, MemoryUse::off, MemoryUse::shuffled, MemoryUse::foreign}) {
    const RecallResult r =
        evaluate_recall(model, o.recall, use, o.documents, o.rows, static_cast<uint64_t>(o.common.seed));
    nlohmann::json line = {
        {"task", "associative_recall"},  {"method", model.options.method}, {"memory", memory_use_name(use)},
        {"segments", o.recall.segments}, {"accuracy", r.all.value()},      {"low", r.all.low()},
        {"high", r.all.high()},          {"asked", r.all.asked},           {"seed", o.common.seed}};
    for (const Accuracy& a : r.by_distance) line["by_distance"].push_back(a.value());
    if (o.common.json) {
      std::printf("%s\n", line.dump().c_str());
    } else {
      std::printf(
          "memory %-9s accuracy %.3f  [%.3f, %.3f]  of %lld questions; at distance 1 %.3f, at %lld %.3f\n",
          memory_use_name(use).c_str(), r.all.value(), r.all.low(), r.all.high(),
          static_cast<long long>(r.all.asked), r.by_distance.front().value(),
          static_cast<long long>(r.by_distance.size()), r.by_distance.back().value());
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

const Command kEvalCommand = {"eval", "associative recall with the memory on, off, shuffled and foreign",
                              "mneme eval --model DIR [--recall.segments N]",
                              "mneme eval --model runs/recall-rmt/model --recall.segment 24 "
                              "--recall.segments 33 --recall.pairs 3 --recall.keys 12 --recall.values 12",
                              run};

}  // namespace mneme
