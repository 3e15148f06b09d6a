#include "eval/hmt_recall.h"

#include "base/error.h"

namespace mneme {

std::string recall_of(const Model& model) {
  const bool recalls = model.options.method == "hmt" && model.options.hmt.mode == "hmt";
  return recalls ? model.options.hmt.recall : "";
}

std::vector<std::string> recalls_of(const Model& model, const std::string& which) {
  const std::string own = recall_of(model);
  if (own.empty() || which == "own") return {own};
  return {"causal", "lookahead"};
}

void set_recall(Model& model, const std::string& recall) {
  if (recall == recall_of(model)) return;
  MNEME_CHECK(!recall.empty() && !recall_of(model).empty());
  MemoryOptions options = model.options;
  options.hmt.recall = recall;
  std::unique_ptr<Memory> other = make_memory(*model.decoder, options);
  const std::vector<Parameter> from = model.memory->parameters(), to = other->parameters();
  for (size_t i = 0; i < to.size(); ++i) {
    MNEME_CHECK(from.at(i).name == to[i].name);
    to[i].set(from[i].value());
  }
  model.memory = std::move(other);
  model.options = options;
}

}  // namespace mneme
