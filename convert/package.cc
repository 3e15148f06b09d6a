#include "convert/package.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "convert/original_names.h"
#include "io/hf_folder.h"
#include "memory/model_folder.h"
#include "memory/original_config.h"
#include "model/adapter.h"
#include "model/load.h"

namespace mneme {
namespace {

std::string folder_of(const std::string& path) {
  if (is_folder(path)) return path;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

bool is_gguf(const WeightSource& weights) { return std::string(weights.format()) == "gguf"; }

nlohmann::json read_config(const std::string& path, const WeightSource& weights,
                           const PackageOptions& options) {
  if (!options.config.empty()) return read_json(options.config);
  if (is_folder(path) || is_gguf(weights)) return HfFolder::open(path).config();
  const std::string beside = join_path(folder_of(path), "config.json");
  if (!file_exists(beside)) {
    throw Error(Kind::input, "no config.json beside '" + path + "'", "name one with --architecture");
  }
  return read_json(beside);
}

double alpha_of(const nlohmann::json& config, const PackageOptions& options) {
  if (options.lora_alpha > 0) return options.lora_alpha;
  const auto lora = config.find("lora");
  if (lora != config.end() && lora->is_object() && lora->contains("alpha") && lora->at("alpha").is_number())
    return lora->at("alpha").get<double>();
  throw Error(Kind::usage, "the checkpoint holds LoRA adapters, and nothing says their alpha",
              "give it with --lora-alpha (it is an argument of the training)");
}

void read_original(Package& p, const WeightSource& all, const PackageOptions& options) {
  OriginalParts parts = split_original(all);
  p.weights = std::move(parts.weights);
  if (!parts.added.names().empty()) p.added = std::move(parts.added);
  if (parts.lora) p.adapter = adapter_inside(*parts.lora, alpha_of(p.config, options));
  if (options.memory) {
    p.memory = *options.memory;
  } else if (p.config.contains("memory")) {
    p.memory = from_original_config(p.config.at("memory"));
  } else {
    p.memory = guess_memory(p.added ? shapes_of(*p.added) : Shapes{});
  }
  p.config.erase("memory");
  p.config.erase("lora");
}

}  // namespace

Package read_package(const std::string& path, const PackageOptions& options) {
  WeightOptions how;
  how.section = options.section;
  const WeightSource all = WeightSource::open(path, how);
  Package p{read_config(path, all, options), all, {}, {}, {}, {}};
  if (!p.config.is_object()) throw Error(Kind::input, "config.json: expected a JSON object");
  p.files = is_gguf(all) ? path : folder_of(path);
  if (is_original(all)) {
    read_original(p, all, options);
  } else if (!is_gguf(all)) {
    const HfFolder folder = HfFolder::open(folder_of(path));
    p.memory = options.memory ? *options.memory : stored_memory(folder);
    if (folder.has("memory.safetensors") && !options.memory)
      p.added = WeightSource::open(folder.file("memory.safetensors"));
  } else if (options.memory) {
    p.memory = *options.memory;
  }
  check_package(p);
  return p;
}

void check_package(Package& p) {
  std::optional<Decoder> shape;
  try {
    shape.emplace(parse_model_config(p.config));
  } catch (const Error& e) {
    if (p.memory.method != "none") throw;
    log_warning("convert", "{}; names and shapes are taken as they are", e.message());
    p.known = false;
    return;
  }
  const ModelConfig& config = shape->config();
  const Naming naming = stored_naming(config, p.weights.names());
  Shapes expected;
  for (const Parameter& parameter : shape->parameters()) {
    const FileName file = naming(parameter);
    std::vector<int64_t> dims = parameter.shape;
    if (file.transposed) std::reverse(dims.begin(), dims.end());
    expected[file.name] = std::move(dims);
  }
  const NameMap names(config);
  require_tensors(p.weights, expected, [&](const std::string& n) {
    return names.ignorable(n) || (config.tied_head && n == "lm_head.weight");
  });
  const std::unique_ptr<Memory> memory = make_memory(*shape, p.memory);
  Shapes own;
  for (const Parameter& parameter : memory->parameters()) own[parameter.name] = parameter.shape;
  if (p.added) require_tensors(*p.added, own);
  if (!p.added && !own.empty()) {
    throw Error(Kind::input,
                "the method '" + p.memory.method + "' has parameters, and the files hold none of them",
                "train the model with it first");
  }
}

Model load_package(const Package& p) {
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(p.config));
  const ModelConfig& config = m.decoder->config();
  const NameMap names(config);
  LoadRules rules;
  rules.ignorable = [&](const std::string& n) {
    return names.ignorable(n) || (config.tied_head && n == "lm_head.weight");
  };
  load_parameters(m.decoder->parameters(), stored_naming(config, p.weights.names()), source_of(p.weights),
                  rules);
  m.decoder->to(at::kCPU, at::kFloat, at::kFloat);
  if (p.adapter) attach_adapter(*m.decoder, *p.adapter);
  m.options = p.memory;
  m.memory = make_memory(*m.decoder, p.memory);
  m.memory->initialise(0);
  if (p.added) load_parameters(m.memory->parameters(), file_naming(config), source_of(*p.added), rules);
  m.memory->to(at::kCPU, at::kFloat);
  return m;
}

}  // namespace mneme
