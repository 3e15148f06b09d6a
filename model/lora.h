// LoRA (arXiv 2106.09685) beside the decoder's matrices: which get an adapter, their parameters, their names
// in PEFT's files, and merging.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "io/adapter.h"
#include "model/load.h"

namespace mneme {

struct LoraOptions {
  int64_t rank = 0;
  double alpha = 16, dropout = 0;
  std::vector<std::string> targets;
  void visit(OptionVisitor& v) {
    v.field("rank", rank, "rank of the adapters; 0: no LoRA");
    v.field("alpha", alpha, "the adapters' output is scaled by alpha / rank");
    v.field("dropout", dropout, "dropout of the adapters' input while training");
    v.field("targets", targets,
            "modules that get an adapter, by their names in the model's files (q_proj, v_proj); empty: all "
            "linear layers");
  }
};

// Adds adapters: A uniform as PEFT draws it, B zero, so that nothing changes yet; of an embedding A is zero
// and B normal. Throws Error{usage} when a target names no module.
void attach_lora(Decoder& decoder, const LoraOptions& options, uint64_t seed);
// "layers.0.q.lora_a", "layers.0.q.lora_b", ..., "embedding.lora_a", ...
std::vector<Parameter> lora_parameters(Decoder& decoder);
// Adds each adapter's product to its matrix and removes it.
void merge_lora(Decoder& decoder);

// The decoder's adapters as a PEFT adapter of the model in `base`; `whole`: parameters that were trained
// beside them, which replace the base's.
Adapter export_adapter(Decoder& decoder, const LoraOptions& options, const std::string& base,
                       const std::vector<Parameter>& whole = {});
// Names as PEFT writes a wrapped model: `prefix` + "base_model.model." + the file's name, ".base_layer" in
// wrapped modules, lora_A.default.weight, lora_embedding_A.default.
Naming peft_naming(Decoder& decoder, const std::string& prefix);

}  // namespace mneme
