// mneme eval: what a model can, and what its memory is worth in it: every task is measured with the memory on
// and in three ways off.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/load.h"
#include "apps/versions.h"
#include "base/error.h"
#include "base/json.h"
#include "data/prepare.h"
#include "eval/hmt_recall.h"
#include "eval/passkey_eval.h"
#include "eval/perplexity.h"
#include "eval/recall_eval.h"
#include "memory/model_folder.h"

namespace mneme {
extern const Command kEvalCommand;

namespace {

struct PerplexityOptions {
  std::string protocol = "documents";
  int64_t documents = 0, tokens = 0, block = 0, history = 0, windows = 0, pad = -1;
  bool bytes = false;
  void visit(OptionVisitor& v) {
    v.choice("protocol", protocol, {"documents", "rmt", "hmt"},
             "each token once, or the last block of overlapping windows as the originals of RMT and HMT "
             "measure");
    v.field("documents", documents, "documents at most; 0: all");
    v.field("tokens", tokens, "tokens of each document, from its begin on; 0: all");
    v.field("bytes", bytes, "texts are bytes behind one 256, as in training with data.kind bytes");
    v.field("block", block, "rmt, hmt: tokens of a window that count; 0: a segment of the method");
    v.field("history", history,
            "rmt: tokens before the block; hmt: tokens from the second block on (its test length)");
    v.field("windows", windows, "rmt, hmt: windows at most; 0: all");
    v.field("pad", pad, "rmt, hmt: token before short windows; -1: the model's padding or end token");
  }
};

struct EvalOptions {
  CommonOptions common;
  std::string model, tokenizer, task = "recall", recalls = "both";
  std::vector<std::string> input, use = {"on", "off", "shuffled", "foreign"};
  int64_t documents = 200, rows = 0;
  MemoryOptions memory;
  RecallTask recall;
  PasskeyEvalOptions passkey;
  PerplexityOptions perplexity;
  void visit(OptionVisitor& v) {
    v.required("model", model, "folder of the model");
    v.choice("task", task, {"recall", "passkey", "perplexity"}, "what is measured");
    v.positional("input", input, "perplexity: texts, or folders that 'mneme data prepare' made");
    v.field("tokenizer", tokenizer, "model folder or tokenizer file; default: the model's");
    v.field("use", use, "uses of the memory: on, off, shuffled, foreign");
    v.choice("recalls", recalls, {"both", "own"},
             "hmt: its recall both ways, causal and as published (lookahead), or only the memory's own");
    v.field("documents", documents, "recall: documents of each measurement");
    v.field("rows", rows, "documents of a batch; 0: as suits the task");
    v.section("memory", memory, "the memory; what is not said is as the folder says");
    v.section("recall", recall, "the associative recall task");
    v.section("passkey", passkey, "the pass-key test");
    v.section("perplexity", perplexity, "perplexity of documents");
    common.visit(v);
  }
};

void print_line(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

nlohmann::json optional(const std::optional<Interval>& interval, double Interval::*side) {
  return interval ? nlohmann::json((*interval).*side) : nlohmann::json();
}

// A measurement of one use of the memory, with everything that is needed to measure it again, and what the
// method promises less than others.
nlohmann::json report(const EvalOptions& o, const Model& model, MemoryUse use) {
  nlohmann::json line = {{"task", o.task},
                         {"model", o.model},
                         {"method", model.options.method},
                         {"memory", memory_use_name(use)},
                         {"seed", o.common.seed},
                         {"versions", versions()}};
  if (const std::string recall = recall_of(model); !recall.empty()) line["recall"] = recall;
  for (const Breach& b : model.memory->breaches())
    line["breaches"].push_back({{"law", b.law}, {"reason", b.reason}});
  return line;
}

// What stands before and behind the figures of a line.
std::string label(const Model& model, MemoryUse use) {
  const std::string recall = recall_of(model), name = memory_use_name(use);
  return recall.empty() ? fmt::format("memory {:9}", name)
                        : fmt::format("recall={:9} memory {:9}", recall, name);
}
std::string caveat(const Model& model) {
  std::string laws;
  for (const Breach& b : model.memory->breaches()) laws += (laws.empty() ? "" : ", ") + b.law;
  return laws.empty() ? "" : "  (breaks the laws of " + laws + ")";
}

// The uses that were asked for; of a method without segments only the first, that it is on.
std::vector<MemoryUse> uses_of(const EvalOptions& o, const Model& model) {
  std::vector<MemoryUse> uses;
  for (const std::string& name : o.use) uses.push_back(parse_memory_use(name));
  if (!segment_of(model))
    uses.erase(std::remove_if(uses.begin(), uses.end(), [](MemoryUse u) { return u != MemoryUse::on; }),
               uses.end());
  if (uses.empty()) {
    throw Error(
        Kind::usage,
        "nothing to measure: '" + model.options.method + "' has no segments to forget its memory after",
        "use --use on");
  }
  return uses;
}

void recall(const EvalOptions& o, const Model& model) {
  if (o.recall.vocabulary() > model.decoder->config().vocab) {
    throw Error(Kind::usage, "the task has " + std::to_string(o.recall.vocabulary()) + " tokens, the model " +
                                 std::to_string(model.decoder->config().vocab));
  }
  for (const std::string& name : o.use) {
    const MemoryUse use = parse_memory_use(name);
    const RecallResult r = evaluate_recall(model, o.recall, use, o.documents, o.rows ? o.rows : 50,
                                           static_cast<uint64_t>(o.common.seed));
    nlohmann::json line = report(o, model, use);
    line.update({{"segments", o.recall.segments},
                 {"accuracy", r.all.value()},
                 {"low", r.all.low()},
                 {"high", r.all.high()},
                 {"asked", r.all.asked}});
    std::string distances;
    for (size_t d = 0; d < r.by_distance.size(); ++d) {
      const Accuracy& a = r.by_distance[d];
      if (a.asked == 0) continue;
      line["by_distance"].push_back({{"distance", d}, {"accuracy", a.value()}, {"asked", a.asked}});
      distances += fmt::format(" {}: {:.3f}", d, a.value());
    }
    print_line(o.common.json
                   ? line.dump()
                   : fmt::format("{} accuracy {:.3f}  [{:.3f}, {:.3f}]  of {} questions; by distance{}{}",
                                 label(model, use), r.all.value(), r.all.low(), r.all.high(), r.all.asked,
                                 distances, caveat(model)));
  }
}

void passkey(const EvalOptions& o, const Loaded& loaded) {
  std::vector<int64_t> lengths = o.passkey.lengths;
  if (!o.passkey.tokens.empty()) {
    lengths.clear();
    for (const int64_t tokens : o.passkey.tokens)
      lengths.push_back(filling_of_tokens(*loaded.tokenizer, tokens));
  }
  for (const MemoryUse use : uses_of(o, loaded.model)) {
    for (const int64_t length : lengths) {
      const PasskeyResult r =
          evaluate_passkey(loaded.model, *loaded.tokenizer, loaded.end_ids, length, use, o.passkey,
                           o.rows ? o.rows : 10, static_cast<uint64_t>(o.common.seed));
      nlohmann::json line = report(o, loaded.model, use);
      line.update({{"filling", length},
                   {"tokens", r.tokens},
                   {"accuracy", r.all.value()},
                   {"low", r.all.low()},
                   {"high", r.all.high()},
                   {"asked", r.all.asked},
                   {"remembered_accuracy", r.remembered.value()},
                   {"remembered_asked", r.remembered.asked},
                   {"wrong", r.wrong}});
      print_line(o.common.json
                     ? dump_json(line)
                     : fmt::format("{} {:7} characters, {:7.0f} tokens: {:.3f}  [{:.3f}, {:.3f}]  of {}; "
                                   "{} of {} with the key before the last segment{}",
                                   label(loaded.model, use), length, r.tokens, r.all.value(), r.all.low(),
                                   r.all.high(), r.all.asked, r.remembered.right, r.remembered.asked,
                                   caveat(loaded.model)));
    }
  }
}

int32_t padding_of(const EvalOptions& o, const Model& model, const Tokenizer* tokenizer) {
  if (o.perplexity.pad >= 0) return static_cast<int32_t>(o.perplexity.pad);
  if (tokenizer && tokenizer->special().pad >= 0) return tokenizer->special().pad;
  const ModelConfig& c = model.decoder->config();
  if (c.pad >= 0) return static_cast<int32_t>(c.pad);
  if (tokenizer && tokenizer->special().eos >= 0) return tokenizer->special().eos;
  return c.eos.empty() ? -1 : static_cast<int32_t>(c.eos.front());
}

void windows(const EvalOptions& o, const Model& model, const Tokenizer* tokenizer,
             const std::vector<EvalDocument>& documents) {
  WindowProtocol protocol;
  protocol.hmt = o.perplexity.protocol == "hmt";
  protocol.block = o.perplexity.block ? o.perplexity.block : segment_of(model).value_or(0);
  if (protocol.block == 0)
    throw Error(Kind::usage,
                "perplexity.block is not set, and '" + model.options.method + "' has no segments");
  protocol.history = o.perplexity.history;
  protocol.most = o.perplexity.windows;
  protocol.pad = padding_of(o, model, tokenizer);
  const WindowPerplexity r = window_perplexity(model, documents, protocol, o.rows ? o.rows : 4);
  const auto interval = bootstrap(r.batches, static_cast<uint64_t>(o.common.seed));
  nlohmann::json line = report(o, model, MemoryUse::on);
  line.update({{"protocol", o.perplexity.protocol},
               {"block", protocol.block},
               {"history", protocol.history},
               {"windows", r.windows},
               {"rows", o.rows ? o.rows : 4},
               {"nats", r.nats},
               {"nats_low", optional(interval, &Interval::low)},
               {"nats_high", optional(interval, &Interval::high)},
               {"perplexity", std::exp(r.nats)},
               {"mean_of_exp", r.mean_of_exp}});
  print_line(o.common.json
                 ? line.dump()
                 : fmt::format("{} {}'s windows: perplexity {:.4f} of {} windows ({:.4f} as mean of exp){}",
                               label(model, MemoryUse::on), o.perplexity.protocol, std::exp(r.nats),
                               r.windows, r.mean_of_exp, caveat(model)));
}

void perplexity(const EvalOptions& o, const Model& model, const Tokenizer* tokenizer,
                const std::vector<EvalDocument>& documents) {
  if (o.perplexity.protocol != "documents") return windows(o, model, tokenizer, documents);
  const auto seed = static_cast<uint64_t>(o.common.seed);
  std::optional<Perplexity> on;
  for (const MemoryUse use : uses_of(o, model)) {
    const Perplexity r = document_perplexity(model, documents, use, o.rows ? o.rows : 4);
    const auto interval = bootstrap(r.documents, seed);
    nlohmann::json line = report(o, model, use);
    int64_t tokens = 0;
    for (const Part& p : r.documents) tokens += static_cast<int64_t>(p.weight);
    const auto bits = r.bits_per_byte(documents);
    line.update({{"protocol", o.perplexity.protocol},
                 {"documents", documents.size()},
                 {"tokens", tokens},
                 {"nats", r.nats()},
                 {"nats_low", optional(interval, &Interval::low)},
                 {"nats_high", optional(interval, &Interval::high)},
                 {"perplexity", r.value()},
                 {"bits_per_byte", bits ? nlohmann::json(*bits) : nlohmann::json()}});
    for (const DepthLoss& d : r.by_depth)
      line["by_depth"].push_back(
          {{"from_segment", d.first}, {"nats", d.nats.sum / d.nats.weight}, {"tokens", d.nats.weight}});
    std::string text =
        fmt::format("{} perplexity {:.4f}, {:.4f} nats a token", label(model, use), r.value(), r.nats());
    if (interval) text += fmt::format(" [{:.4f}, {:.4f}]", interval->low, interval->high);
    if (on) {
      const std::vector<Part> more = costs(*on, r);
      const auto sure = bootstrap(more, seed);
      line.update({{"cost", ratio(more)},
                   {"cost_low", optional(sure, &Interval::low)},
                   {"cost_high", optional(sure, &Interval::high)}});
      text += fmt::format("; {:+.4f} nats over on", ratio(more));
      if (sure) text += fmt::format(" [{:+.4f}, {:+.4f}]", sure->low, sure->high);
    } else if (use == MemoryUse::on) {
      on = r;
    }
    print_line(o.common.json ? line.dump() : text + caveat(model));
  }
}

int run_eval(int argc, const char* const* argv) {
  EvalOptions o;
  o.common.seed = 1000003;  // not the seed of a training
  if (!read_model_options(kEvalCommand, argc, argv, o)) return 0;
  if (!o.input.empty() && o.task != "perplexity")
    throw Error(Kind::usage, "only --task perplexity reads documents");
  const bool tokens =
      o.task == "recall" || o.perplexity.bytes || std::all_of(o.input.begin(), o.input.end(), is_prepared);
  Loaded loaded =
      load_for_inference(o.model, o.tokenizer, o.common, o.memory, o.task == "passkey" || !tokens);
  std::vector<EvalDocument> documents;
  if (o.task == "perplexity") {
    if (o.input.empty()) throw Error(Kind::usage, "no documents", "name text files or prepared folders");
    documents = read_documents(o.input, loaded.tokenizer.get(),
                               {o.perplexity.documents, o.perplexity.tokens, o.perplexity.bytes});
  }
  for (const std::string& way : recalls_of(loaded.model, o.recalls)) {
    set_recall(loaded.model, way);
    if (o.task == "recall") recall(o, loaded.model);
    if (o.task == "passkey") passkey(o, loaded);
    if (o.task == "perplexity") perplexity(o, loaded.model, loaded.tokenizer.get(), documents);
  }
  return 0;
}

}  // namespace

const Command kEvalCommand = {
    "eval", "recall, pass keys and perplexity with the memory on, off, shuffled and foreign",
    "mneme eval --model DIR --task recall|passkey|perplexity [INPUT...] [--section.key value]...",
    "mneme eval --model runs/books/model --task perplexity books/test.txt --use on,off", run_eval};

}  // namespace mneme
