#include "train/trainable.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/glob.h"

namespace mneme {
namespace {

bool matches(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& p) { return glob_match(p, name).has_value(); });
}

void require_matches(const std::vector<std::string>& patterns, const std::vector<Parameter>& all,
                     const char* option) {
  for (const std::string& pattern : patterns) {
    std::vector<std::string> names;
    for (const Parameter& p : all) names.push_back(p.name);
    if (std::none_of(names.begin(), names.end(),
                     [&](const std::string& n) { return glob_match(pattern, n).has_value(); })) {
      throw Error(Kind::usage, std::string("train.") + option + ": no parameter is called '" + pattern + "'",
                  "the nearest is " + nearest(pattern, names) + "; '*' stands for any characters");
    }
  }
}

}  // namespace

std::vector<Parameter> all_parameters(const Model& model) {
  std::vector<Parameter> all = model.decoder->parameters();
  for (Parameter& p : lora_parameters(*model.decoder)) all.push_back(std::move(p));
  for (Parameter& p : model.memory->parameters()) all.push_back(std::move(p));
  return all;
}

std::vector<Parameter> trained_parameters(const Model& model, const TrainableOptions& options) {
  const std::vector<Parameter> all = all_parameters(model);
  require_matches(options.freeze, all, "freeze");
  require_matches(options.unfreeze, all, "unfreeze");
  std::set<std::string> backbone;
  if (options.lora.rank > 0) {
    for (const Parameter& p : model.decoder->parameters()) backbone.insert(p.name);
  }
  const std::vector<std::string> left_alone = model.memory->frozen();
  std::vector<Parameter> out;
  for (const Parameter& p : all) {
    const bool by_default = backbone.count(p.name) == 0 && !matches(left_alone, p.name);
    if ((by_default || matches(options.unfreeze, p.name)) && !matches(options.freeze, p.name))
      out.push_back(p);
  }
  if (out.empty()) {
    throw Error(Kind::usage, "train.freeze leaves no parameter to train",
                "freeze fewer, or set train.lora.rank");
  }
  return out;
}

std::vector<Parameter> prepare_training(Model& model, const TrainableOptions& options, at::Device device,
                                        at::ScalarType activations, uint64_t seed) {
  const at::ScalarType wide = activations == at::kDouble ? at::kDouble : at::kFloat;
  Decoder& decoder = *model.decoder;
  const Tensor any = decoder.parameters().front().value();
  decoder.to(device, any.scalar_type(), activations);
  model.memory->to(device, wide);
  attach_lora(decoder, options.lora, seed);
  const std::vector<Parameter> trained = trained_parameters(model, options);
  std::set<std::string> names;
  for (const Parameter& p : trained) {
    names.insert(p.name);
    p.set(p.value().detach().to(device, wide, false, /*copy=*/true).contiguous());
  }
  for (const Parameter& p : decoder.parameters()) {
    if (names.count(p.name) > 0) continue;
    const bool table = p.name == "embedding" || p.name == "position_table";
    p.set(p.value().detach().to(device, p.matrix || table ? activations : wide));
  }
  decoder.refresh();
  for (const Parameter& p : trained) p.value().set_requires_grad(true);
  return trained;
}

}  // namespace mneme
