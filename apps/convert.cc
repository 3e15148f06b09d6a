// mneme convert: a model from one form of files into another.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "convert/adapters.h"
#include "convert/package.h"
#include "convert/verify.h"
#include "convert/write.h"
#include "io/hf_folder.h"
#include "io/weight_diff.h"
#include "memory/model_folder.h"

namespace mneme {
extern const Command kConvertCommand;

namespace {

struct ConvertOptions {
  CommonOptions common;
  std::string source, target, to = "auto", store = "keep", config, section, tokenizer, base;
  std::vector<std::string> adapter;
  double lora_alpha = 0;
  int64_t rank = 16, shard_mb = 5000, verify_tokens = 64;
  bool drop_memory = false, replace = false, verify = false;
  MemoryOptions memory;
  void visit(OptionVisitor& v) {
    v.positional("source", source,
                 "model folder, GGUF file, or a checkpoint of the original RMT or HMT; diff: see mneme "
                 "convert diff --help",
                 Need::required);
    v.positional("target", target, "folder or *.gguf file to write", Need::required);
    v.choice("to", to, {"auto", "folder", "gguf", "original", "adapter"},
             "what to write; auto: by the target's name. original: the names of the original RMT and HMT");
    v.choice("store", store, {"keep", "fp32", "fp16", "bf16", "q8_0"},
             "type of the weights in the target (q8_0: GGUF only)");
    v.field("adapter", adapter, "adapters (folders of PEFT) that are merged, in this order");
    v.field("base", base, "for --to adapter: the model that the adapter is to start from");
    v.field("rank", rank, "for --to adapter: the rank of the difference's matrices");
    v.field("lora_alpha", lora_alpha,
            "alpha of adapters inside an original checkpoint; 0: what its config says");
    v.field("architecture", config, "config.json of weights that have none beside them");
    v.field("section", section, "of a PyTorch checkpoint with several state dicts: which one");
    v.field(
        "tokenizer", tokenizer,
        "where to take the tokenizer from, instead of the source: a folder, a GGUF file; none: write none");
    v.field("drop_memory", drop_memory, "write the backbone alone");
    v.field("replace", replace, "write over a target that is there");
    v.field("shard_mb", shard_mb, "megabytes of a shard of the target at most");
    v.field(
        "verify", verify,
        "compare logits before and after; allowed, as a share of their root mean square: 0 where the type "
        "stays, 1e-4 with a merged adapter, 0.01 for fp16, 0.1 for bf16, 0.2 for q8_0");
    v.field("verify_tokens", verify_tokens, "tokens of that comparison");
    v.section("memory", memory, "the method and its options, for checkpoints that do not say them");
    common.visit(v);
  }
};

std::string target_form(const ConvertOptions& o) {
  if (o.to != "auto") return o.to;
  const bool gguf = o.target.size() > 5 && o.target.compare(o.target.size() - 5, 5, ".gguf") == 0;
  return gguf ? "gguf" : "folder";
}

void say(const ConvertOptions& o, const nlohmann::ordered_json& fields, const std::string& text) {
  if (o.common.json) {
    std::printf("%s\n", fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s\n", text.c_str());
  }
}

// Throws Error{numeric} when the two differ by more than `allowed`.
void judge(const ConvertOptions& o, const Tensor& before, const Model& written, double allowed) {
  const LogitComparison c = compare_logits(before, probe_logits(written, before.size(0)));
  say(o,
      {{"verified_tokens", c.tokens}, {"error", c.error}, {"allowed", allowed}, {"agreement", c.agreement}},
      fmt::format(
          "verified on {} tokens: logits differ by {:.3g} of their root mean square ({:.3g} allowed), the "
          "most likely token agrees at {:.1f}%",
          c.tokens, c.error, allowed, 100 * c.agreement));
  if (!(c.error <= allowed))
    throw Error(Kind::numeric, "the converted model differs from the source; nothing was written");
}

int64_t probe_length(const Package& p, const ConvertOptions& o) {
  const int64_t most = parse_model_config(p.config).max_positions;
  if (o.verify_tokens < 1) throw Error(Kind::usage, "verify_tokens must be at least 1");
  return std::min(o.verify_tokens, most);
}

// The adapter is checked beside its base in memory, and then written.
int write_split(const ConvertOptions& o, Package& tuned) {
  if (tuned.adapter && o.base.empty()) {
    write_adapter(o.target, *tuned.adapter, o.replace);
    say(o, {{"written", o.target}, {"modules", tuned.adapter->pairs.size()}},
        fmt::format("{}: the {} pairs of the checkpoint, as an adapter", o.target,
                    tuned.adapter->pairs.size()));
    return 0;
  }
  if (o.base.empty())
    throw Error(Kind::usage, "--to adapter needs the --base that the source was tuned from");
  if (tuned.adapter) merge_adapter(tuned, *tuned.adapter);
  Package base = read_package(o.base);
  SplitReport report;
  const Adapter adapter = split_adapter(tuned, base, o.rank, report);
  say(o, {{"modules", report.modules}, {"whole", report.whole}, {"residual", report.residual}},
      fmt::format(
          "{} matrices of rank {}, {} whole tensors; the rank leaves out {:.3g} of the difference at most",
          report.modules, o.rank, report.whole, report.residual));
  if (o.verify) {
    const Tensor before = probe_logits(load_package(tuned), probe_length(tuned, o));
    base.adapter = adapter;
    base.memory = tuned.memory;
    base.added = tuned.added;
    judge(o, before, load_package(base), allowed_error("keep", true) + report.residual);
  }
  write_adapter(o.target, adapter, o.replace);
  say(o, {{"written", o.target}}, o.target + ": written");
  return 0;
}

struct DiffOptions {
  CommonOptions common;
  std::string action, raw, other, target;
  bool unchecked = false;
  void visit(OptionVisitor& v) {
    v.positional("action", action, "make: RAW TUNED DIFF; apply: RAW DIFF TUNED", Need::required);
    v.positional("raw", raw, "folder of the model that both start from", Need::required);
    v.positional("other", other, "folder of the tuned model, or of the difference", Need::required);
    v.positional("target", target, "folder to write", Need::required);
    v.field("unchecked", unchecked, "apply: whatever the published sum says");
    common.visit(v);
  }
};

const Command kDiffCommand = {"convert diff", "weights as a difference to a model that may not be passed on",
                              "mneme convert diff make|apply RAW TUNED|DIFF TARGET",
                              "mneme convert diff apply models/llama-7b landmark-diff models/landmark-7b",
                              nullptr};

int run_diff(int argc, const char* const* argv) {
  DiffOptions o;
  if (!read_options(kDiffCommand, argc, argv, o)) return 0;
  if (o.action == "make") {
    make_weight_difference(o.raw, o.other, o.target);
  } else if (o.action == "apply") {
    recover_weights(o.raw, o.other, o.target, !o.unchecked);
  } else {
    throw Error(Kind::usage, "convert diff: no action '" + o.action + "'", "there are make and apply");
  }
  log_info("convert", "{}: written", o.target);
  return 0;
}

int run_convert(int argc, const char* const* argv) {
  if (argc > 1 && std::string_view(argv[1]) == "diff") return run_diff(argc - 1, argv + 1);
  ConvertOptions o;
  if (!read_options(kConvertCommand, argc, argv, o)) return 0;
  PackageOptions how{o.config, o.section, {}, o.lora_alpha};
  if (o.memory.method != "none") how.memory = o.memory;
  Package package = read_package(o.source, how);
  const std::string form = target_form(o);
  if (o.drop_memory) {
    package.memory = {};
    package.added.reset();
  }
  std::vector<Adapter> adapters;
  for (const std::string& folder : o.adapter) adapters.push_back(read_adapter(folder));
  if (form == "adapter") return write_split(o, package);

  const bool arithmetic = package.adapter || !adapters.empty();
  if (adapters.size() > 1 && o.verify)
    throw Error(Kind::usage, "--verify compares with one adapter beside its base", "merge one at a time");
  std::optional<Tensor> before;
  if (o.verify) {
    Package beside = package;
    if (!adapters.empty()) beside.adapter = adapters[0];
    before = probe_logits(load_package(beside), probe_length(package, o));
  }
  if (package.adapter) merge_adapter(package, *package.adapter);
  for (const Adapter& a : adapters) merge_adapter(package, a);

  WriteOptions w{o.store, o.shard_mb * 1000000, o.replace, o.tokenizer, {}};
  if (o.shard_mb < 1) throw Error(Kind::usage, "shard_mb must be at least 1");
  if (before) {
    w.check = [&](const std::string& written) {
      const Model after = form == "original" ? load_package(read_package(written)) : load_model(written, {});
      judge(o, *before, after, allowed_error(o.store, arithmetic));
    };
  }
  if (form == "gguf") {
    write_gguf_model(package, o.target, w);
  } else if (form == "original") {
    write_original(package, o.target, w);
  } else {
    write_folder(package, o.target, w);
  }
  say(o, {{"written", o.target}, {"form", form}, {"tensors", package.weights.names().size()}},
      fmt::format("{}: {} tensors, memory {}", o.target, package.weights.names().size(),
                  package.memory.method));
  return 0;
}

}  // namespace

const Command kConvertCommand = {
    "convert", "a model from one form of files into another, adapters in and out",
    "mneme convert [--to folder|gguf|original|adapter] [--store TYPE] "
    "[--adapter DIR]... [--verify] SOURCE TARGET\n"
    "mneme convert diff make|apply RAW TUNED|DIFF TARGET",
    "mneme convert --store q8_0 --verify models/stories stories.gguf", run_convert};

}  // namespace mneme
