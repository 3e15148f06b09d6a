// What the cases of several methods share: the model from the case's files, batches of segments, greedy
// decoding.
#pragma once

#include "memory/read.h"
#include "verify/golden_case.h"

namespace mneme {

struct CaseModel {
  Model model;
  std::vector<Parameter> all, trained;  // trained: all, or with `lora` the adapters and the memory's own
  Naming naming;
};
// The backbone's names under a prefix (without it where the weights have none), the method's parameters under
// their own names; fp32 unless the config names another type.
CaseModel load_case_model(const GoldenCase& golden, const MemoryOptions& options,
                          const std::string& prefix = "memory_cell.model.");

// A member of a section of the config; `otherwise` where it is absent or null.
template <class T>
T value_or(const nlohmann::json& section, const char* key, T otherwise) {
  const auto found = section.find(key);
  return found == section.end() || found->is_null() ? otherwise : found->template get<T>();
}

// Tokens [begin, end) of all rows as one call; `closes` ends a segment there, otherwise it stays open.
Batch segment_batch(const Tensor& ids, const Tensor& mask, int64_t begin, int64_t end, bool closes);

// The value of an item of the trace, undefined if there is none.
Tensor traced(const Trace& trace, const std::string& name);

// Greedy tokens from the logits [B, V] of the prompt's end; puts `generated` and `generated_logits`. `next`
// reads one token of each row [B, 1] and returns logits [B, V].
void generate_greedily(const GoldenCase& golden, Tensor logits,
                       const std::function<Tensor(const Tensor&)>& next, Results& results);

}  // namespace mneme
