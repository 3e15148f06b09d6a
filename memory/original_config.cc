#include "memory/original_config.h"

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
  o.segment = whole(j, "segment_size", whole(j, "input_size", 512) - 2 * o.memory_tokens);
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
  o.segment = whole(j, "block_size", whole(j, "segment_length", 256) - 2 * memory - o.sensory);
  if (j.contains("sum_fraction")) o.summary = j.at("sum_fraction").get<double>();
  o.recall_width = whole(j, "mem_recall_hidden_dim", 4096);
  o.memories = whole(j, "mem_recall_context", 100);
  o.recall = "lookahead";
  o.recall_dtype = text(j, "recall_dtype", "bfloat16") == "float32" ? "fp32" : "bf16";
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
  } else if (o.method != "none") {
    throw Error(Kind::input, "memory.method: no original configuration of '" + o.method + "' is known",
                "known are none, rmt, hmt");
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
