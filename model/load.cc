#include "model/load.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/error.h"

namespace mneme {
namespace {

// The first few, and how many more.
std::string list(const std::vector<std::string>& lines) {
  constexpr size_t kShown = 12;
  std::string out;
  for (size_t i = 0; i < std::min(lines.size(), kShown); ++i) out += "\n    " + lines[i];
  if (lines.size() > kShown) out += "\n    and " + std::to_string(lines.size() - kShown) + " more";
  return out;
}

bool is_backbone(const Parameter& p) {
  return p.name == "embedding" || p.name == "position_table" || p.name.rfind("layers.", 0) == 0 ||
         p.name.rfind("final_norm", 0) == 0 || p.name.rfind("project_", 0) == 0 ||
         p.name.rfind("head.", 0) == 0;
}

}  // namespace

TensorSource source_of(const SafetensorsFile& file) {
  const auto shared = std::make_shared<SafetensorsFile>(file);
  return {file.where(), file.names(), [shared](const std::string& n) { return shared->info(n).shape; },
          [shared](const std::string& n) { return shared->tensor(n); }};
}

TensorSource source_of(const WeightSource& weights) {
  const auto shared = std::make_shared<WeightSource>(weights);
  return {weights.where(), weights.names(), [shared](const std::string& n) { return shared->info(n).shape; },
          [shared](const std::string& n) { return shared->tensor(n); }};
}

TensorSource source_of(NamedTensors tensors, std::string where) {
  const auto shared = std::make_shared<std::map<std::string, Tensor>>(tensors.begin(), tensors.end());
  TensorSource source{std::move(where),
                      {},
                      [shared](const std::string& n) { return shared->at(n).sizes().vec(); },
                      [shared](const std::string& n) { return shared->at(n); }};
  for (const auto& [name, t] : tensors) source.names.push_back(name);
  return source;
}

Naming file_naming(const ModelConfig& config, const std::string& prefix) {
  const auto map = std::make_shared<NameMap>(config);
  return [map, prefix](const Parameter& p) -> FileName {
    if (!is_backbone(p)) return {p.name, false};
    FileName f = map->file_name(p.name);
    f.name = prefix + f.name;
    return f;
  };
}

Naming stored_naming(const ModelConfig& config, const std::vector<std::string>& stored) {
  const std::string root = NameMap(config).root();
  const bool rooted =
      std::any_of(stored.begin(), stored.end(), [&](const std::string& n) { return n.rfind(root, 0) == 0; });
  const Naming plain = file_naming(config);
  if (rooted) return plain;
  return [plain, root](const Parameter& p) {
    FileName f = plain(p);
    if (f.name.rfind(root, 0) == 0) f.name = f.name.substr(root.size());
    return f;
  };
}

Tensor to_file_layout(const FileName& name, const Tensor& t) {
  return name.transposed ? t.t().contiguous() : t;
}

std::vector<std::string> load_parameters(const std::vector<Parameter>& parameters, const Naming& naming,
                                         const TensorSource& source, const LoadRules& rules) {
  std::set<std::string> unused(source.names.begin(), source.names.end());
  std::vector<std::string> missing, misshapen, found;
  std::vector<std::pair<const Parameter*, FileName>> plan;
  for (const Parameter& p : parameters) {
    FileName file = naming(p);
    std::vector<int64_t> expected = p.shape;
    if (file.transposed) std::reverse(expected.begin(), expected.end());
    if (unused.count(file.name) == 0) {
      if (!rules.fill_missing) missing.push_back(file.name + " " + format_shape(expected));
      continue;
    }
    unused.erase(file.name);
    const std::vector<int64_t> shape = source.shape(file.name);
    if (shape != expected) {
      misshapen.push_back(file.name + ": expected " + format_shape(expected) + ", found " +
                          format_shape(shape));
    }
    found.push_back(p.name);
    plan.emplace_back(&p, std::move(file));
  }
  std::vector<std::string> unexpected;
  for (const std::string& n : unused) {
    if (!rules.ignorable || !rules.ignorable(n))
      unexpected.push_back(n + " " + format_shape(source.shape(n)));
  }
  if (!missing.empty() || !misshapen.empty() || !unexpected.empty()) {
    std::string text = source.where + ": the tensors do not fit the model";
    if (!missing.empty()) text += "\n  missing:" + list(missing);
    if (!misshapen.empty()) text += "\n  of another shape:" + list(misshapen);
    if (!unexpected.empty()) text += "\n  unexpected:" + list(unexpected);
    throw Error(Kind::input, text, "check that config.json belongs to these weights");
  }
  // Only now is anything taken.
  for (const auto& [p, file] : plan) {
    const Tensor t = source.tensor(file.name);
    p->set((file.transposed ? t.t() : t).to(rules.dtype).contiguous());
  }
  return found;
}

NamedTensors export_parameters(const std::vector<Parameter>& parameters, const Naming& naming) {
  NamedTensors out;
  for (const Parameter& p : parameters) {
    const FileName file = naming(p);
    out.emplace_back(file.name, to_file_layout(file, p.value().detach()));
  }
  return out;
}

}  // namespace mneme
