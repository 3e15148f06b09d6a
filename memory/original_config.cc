#include "memory/original_config.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mneme {
namespace {

using Json = nlohmann::json;

int64_t whole(const Json& j, const char* key, int64_t otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_number_integer()) {
    throw Error(Kind::input,
                std::string("memory.") + key + ": expected an integer, found " + j.at(key).dump());
  }
  return j.at(key).get<int64_t>();
}

std::string text(const Json& j, const char* key, const char* otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_string()) {
    throw Error(Kind::input, std::string("memory.") + key + ": expected a string, found " + j.at(key).dump());
  }
  return j.at(key).get<std::string>();
}

RmtOptions rmt(const Json& j) {
  RmtOptions o;
  o.memory_tokens = whole(j, "num_mem_tokens", 0);
  const int64_t window = whole(j, "input_size", 512);
  o.segment = whole(j, "segment_size", window - 2 * o.memory_tokens);
  if (o.segment <= 0) {
    throw Error(Kind::input, "memory.input_size: " + std::to_string(window) +
                                 " positions leave no text beside " + std::to_string(o.memory_tokens) +
                                 " memory tokens before and after it");
  }
  return o;
}

HmtOptions hmt(const Json& j) {
  HmtOptions o;
  const std::string mode = text(j, "mode", "hmt");
  o.mode = mode == "hmt_stage_1"     ? "stage1"
           : mode == "rmt_only"      ? "rmt"
           : mode == "baseline_only" ? "baseline"
                                     : mode;
  if (o.mode != "hmt" && o.mode != "stage1" && o.mode != "rmt" && o.mode != "baseline") {
    throw Error(Kind::input,
                "memory.mode: expected hmt, hmt_stage_1, rmt_only or baseline_only, found " + mode);
  }
  if (whole(j, "num_mem_tokens", 1) > 1)
    throw Error(Kind::input, "memory.num_mem_tokens: hmt has one memory vector a segment");
  o.sensory = whole(j, "num_sensory", 0);
  const int64_t memory = o.mode == "baseline" ? 0 : 1;
  const int64_t window = whole(j, "segment_length", 256);
  o.segment = whole(j, "block_size", window - 2 * memory - o.sensory);
  if (o.segment <= 0) {
    throw Error(Kind::input, "memory.segment_length: " + std::to_string(window) +
                                 " positions leave no text beside the memory and " +
                                 std::to_string(o.sensory) + " sensory tokens");
  }
  if (j.contains("sum_fraction")) o.summary = j.at("sum_fraction").get<double>();
  o.recall_width = whole(j, "mem_recall_hidden_dim", 4096);
  o.memories = whole(j, "mem_recall_context", 100);
  o.recall = "lookahead";
  o.recall_dtype = text(j, "recall_dtype", "bfloat16") == "float32" ? "fp32" : "bf16";
  return o;
}

double share(const Json& j, const char* key) {
  if (!j.contains(key) || j.at(key).is_null()) return 0;
  if (!j.at(key).is_number()) {
    throw Error(Kind::input, std::string("memory.") + key + ": expected a number, found " + j.at(key).dump());
  }
  return j.at(key).get<double>();
}

bool flag(const Json& j, const char* key, bool otherwise) {
  if (!j.contains(key) || j.at(key).is_null()) return otherwise;
  if (!j.at(key).is_boolean()) {
    throw Error(Kind::input,
                std::string("memory.") + key + ": expected true or false, found " + j.at(key).dump());
  }
  return j.at(key).get<bool>();
}

// One name of several, in the original's words and ours.
std::string renamed(const Json& j, const char* key,
                    const std::vector<std::pair<std::string, std::string>>& names) {
  const std::string given = text(j, key, names[0].first.c_str());
  std::string known;
  for (const auto& [theirs, ours] : names) {
    if (given == theirs) return ours;
    known += (known.empty() ? "" : ", ") + theirs;
  }
  throw Error(Kind::input, std::string("memory.") + key + ": found '" + given + "'", "known are " + known);
}

// Training from scratch, and its evaluation with a cache of blocks.
LandmarkMemoryOptions landmark_from_scratch(const Json& j) {
  LandmarkMemoryOptions o;
  const bool cache = text(j, "lm_cache", "none") == "mem";
  o.block = whole(j, cache ? "mem_cache_freq" : "mem_freq", 50);
  o.retrieve = cache ? whole(j, "cache_topk", 1) : 0;
  o.blocks = whole(j, "mem_cache_size", 0);
  o.segment = whole(j, "mid_length", o.segment);
  o.id = whole(j, "landmark_id", -1);
  o.select = renamed(j, "cache_selection_method",
                     {{"per_token_and_head", "token_and_head"},
                      {"max_over_heads", "max_over_heads"},
                      {"max_over_tokens", "max_over_tokens"}});
  o.softmax = renamed(j, "softmax_func",
                      {{"mem_opt", "grouped"}, {"nomem", "plain"}, {"ignore_mem", "without_landmark"}});
  o.group_dropout = share(j, "group_dropout");
  o.jump = whole(j, "pos_jump_on_mem", 0);
  o.miss = flag(j, "enable_cmt", false);
  if (o.miss) {
    o.miss_controlled = share(j, "under_rem_score_prob");
    o.miss_cutoff = share(j, "rem_cutoff");
  }
  return o;
}

// LLaMA: windows of what the trained context leaves beside the blocks that are read.
LandmarkMemoryOptions landmark_llama(const Json& j) {
  LandmarkMemoryOptions o;
  o.block = whole(j, "mem_freq", 50);
  o.blocks = 0;
  o.id = whole(j, "landmark_id", whole(j, "mem_id", 32001));
  o.landmark_predicts = o.landmark_loss = flag(j, "include_landmark_in_loss", true);
  o.random_phase = false;
  if (flag(j, "offload_cache_to_cpu", false)) o.select = "max_over_tokens";
  const int64_t context = whole(j, "train_context_length", 512), width = o.block + 1;
  // Not part of the model: five, as in the original's test, or what leaves a block for the window.
  o.retrieve = whole(j, "cache_top_k", std::clamp<int64_t>(context / width - 2, 0, 5));
  int64_t slots = whole(j, "max_chunk_length", 0);
  if (slots == 0) slots = context - context % width - (o.retrieve + 1) * width;
  if (slots < width) {
    throw Error(Kind::input,
                "memory.train_context_length: " + std::to_string(context) + " leaves no block beside the " +
                    std::to_string(o.retrieve) + " that are read",
                "lower cache_top_k");
  }
  o.segment = slots / width * o.block + slots % width;
  return o;
}

LandmarkMemoryOptions landmark(const Json& j) {
  LandmarkMemoryOptions o =
      text(j, "variant", "scratch") == "llama" ? landmark_llama(j) : landmark_from_scratch(j);
  o.parity_offbyone = flag(j, "parity_offbyone", false);
  if (flag(j, "parity_padded_blocks", false)) {
    throw Error(
        Kind::input,
        "memory.parity_padded_blocks: a model does not read blocks of nothing but padding, also not as "
        "the original did by mistake",
        "only the operator alone has this option (kind op)");
  }
  if (j.contains("tie_eps")) o.tie_eps = share(j, "tie_eps");
  return o;
}

}  // namespace

MemoryOptions from_original_config(const Json& memory) {
  MemoryOptions o;
  o.method = text(memory, "method", "none");
  if (o.method == "rmt") {
    o.rmt = rmt(memory);
  } else if (o.method == "hmt") {
    o.hmt = hmt(memory);
  } else if (o.method == "landmark" && text(memory, "lm_cache", "none").rfind("kv", 0) == 0) {
    o.method = "xl";  // the baseline of the same program: recurrence over cached keys
    o.xl.cache = whole(memory, "mem_cache_size", 256);
    o.xl.segment = whole(memory, "mid_length", 256);
  } else if (o.method == "landmark") {
    o.landmark = landmark(memory);
  } else if (o.method != "none") {
    throw Error(Kind::input, "memory.method: no original configuration of '" + o.method + "' is known",
                "known are none, rmt, hmt, landmark");
  }
  return o;
}

Json to_original_config(const MemoryOptions& o, std::vector<std::string>& lost) {
  Json out = {{"method", o.method}};
  if (o.method == "rmt") {
    out["num_mem_tokens"] = o.rmt.memory_tokens;
    out["segment_size"] = o.rmt.segment;
    out["input_size"] = o.rmt.segment + 2 * o.rmt.memory_tokens;
  } else if (o.method == "hmt") {
    const HmtOptions& h = o.hmt;
    const int64_t memory = h.mode == "baseline" ? 0 : 1;
    out["mode"] = h.mode == "stage1"     ? "hmt_stage_1"
                  : h.mode == "rmt"      ? "rmt_only"
                  : h.mode == "baseline" ? "baseline_only"
                                         : h.mode;
    out["num_mem_tokens"] = memory;
    out["num_sensory"] = h.sensory;
    out["block_size"] = h.segment;
    out["segment_length"] = h.segment + 2 * memory + h.sensory;
    out["sum_fraction"] = h.summary;
    out["mem_recall_hidden_dim"] = h.recall_width;
    out["mem_recall_context"] = h.memories;
    out["recall_dtype"] = h.recall_dtype == "fp32" ? "float32" : "bfloat16";
  } else {
    throw Error(Kind::usage, "the method '" + o.method + "' has no original form",
                "it is known of rmt and hmt");
  }
  const Json ours = options_json(o).at(o.method),
             theirs = options_json(from_original_config(out)).at(o.method);
  for (const auto& [key, value] : ours.items()) {
    if (theirs.at(key) != value)
      lost.push_back(key + " " + value.dump() + " becomes " + theirs.at(key).dump());
  }
  return out;
}

}  // namespace mneme
