#include "memory/model_folder.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "io/tokenizer_copy.h"
#include "io/weights.h"
#include "model/adapter.h"
#include "model/load.h"

namespace mneme {
namespace {

constexpr const char* kFormat = "mneme-model-1";

// The folder of the base model that an adapter's folder refers to.
std::string base_of(const HfFolder& adapter, const std::string& named) {
  for (const std::string& path : {named, adapter.file("../" + named)}) {
    if (!named.empty() && is_folder(path)) return path;
  }
  throw Error(Kind::input,
              adapter.file("adapter_config.json") + ": the base model '" + named + "' is not on this disk",
              "put the folder of the base model into base_model_name_or_path");
}

void load_backbone(Model& m, const HfFolder& folder, const ModelLoad& load) {
  m.decoder = std::make_unique<Decoder>(parse_model_config(folder.config()));
  const ModelConfig& config = m.decoder->config();
  const TensorSource source = source_of(WeightSource::open(folder.path()));
  const NameMap names(config);
  LoadRules rules;
  rules.dtype = load.weights;
  rules.ignorable = [&](const std::string& n) {
    return names.ignorable(n) || (config.tied_head && n == "lm_head.weight");
  };
  load_parameters(m.decoder->parameters(), stored_naming(config, source.names), source, rules);
  m.decoder->to(load.device, load.weights, load.activations);
}

// The method's own parameters: of the folder, where it holds this method, else new ones.
void load_memory(Model& m, const HfFolder& folder, const ModelLoad& load) {
  const MemoryOptions stored = stored_memory(folder);
  m.options = load.memory ? *load.memory : stored;
  m.memory = make_memory(*m.decoder, m.options);
  m.memory->initialise(load.seed);
  const std::vector<Parameter> parameters = m.memory->parameters();
  if (parameters.empty()) return;
  if (folder.has("mneme.json") && stored.method == m.options.method) {
    if (!folder.has("memory.safetensors")) {
      throw Error(Kind::input,
                  folder.path() + ": memory.safetensors, the parameters of '" + m.options.method +
                      "', is missing beside mneme.json",
                  "copy it there, or remove mneme.json to begin with new ones");
    }
    LoadRules rules;
    rules.dtype = load.weights;
    load_parameters(parameters, file_naming(m.decoder->config()),
                    source_of(SafetensorsFile::open(folder.file("memory.safetensors"))), rules);
  } else {
    log_info("model", "the {} parameters of '{}' are new, drawn from seed {}", parameters.size(),
             m.options.method, load.seed);
  }
  m.memory->to(load.device, load.weights);
}

void write_memory(const Model& model, const FolderWriter& folder) {
  folder.json("mneme.json", memory_json(model.options));
  if (model.memory->parameters().empty()) return;
  write_safetensors(folder.file("memory.safetensors"),
                    export_parameters(model.memory->parameters(), file_naming(model.decoder->config())));
}

}  // namespace

MemoryOptions stored_memory(const HfFolder& folder) {
  MemoryOptions options;
  if (!folder.has("mneme.json")) return options;
  const nlohmann::json j = folder.json("mneme.json");
  const std::string path = folder.file("mneme.json");
  const JsonReader reader(j, path);
  if (reader.string("format") != kFormat) reader.fail("format", std::string("'") + kFormat + "'");
  options_from_json(reader.at("memory"), path, OptionTable(options));
  return options;
}

nlohmann::json memory_json(const MemoryOptions& options) {
  return {{"format", kFormat}, {"memory", options_json(options)}};
}

std::string backbone_folder(const std::string& path) {
  if (!is_folder(path)) return path;
  const HfFolder folder = HfFolder::open(path);
  if (!folder.is_adapter()) return path;
  const std::string where = folder.file("adapter_config.json");
  return base_of(folder, AdapterConfig::parse(folder.json("adapter_config.json"), where).base_model);
}

Model load_model(const std::string& path, const ModelLoad& load) {
  const HfFolder folder = HfFolder::open(path);
  Model m;
  if (folder.is_adapter()) {
    const Adapter adapter = read_adapter(path);
    const HfFolder base = HfFolder::open(base_of(folder, adapter.config.base_model));
    load_backbone(m, base, load);
    attach_adapter(*m.decoder, adapter);
    merge_lora(*m.decoder);
    load_memory(m, folder.has("mneme.json") ? folder : base, load);
    return m;
  }
  load_backbone(m, folder, load);
  load_memory(m, folder, load);
  return m;
}

Model fresh_model(const std::string& config_path, const MemoryOptions& memory, uint64_t seed) {
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(read_json(config_path)));
  m.decoder->initialise(seed);
  m.options = memory;
  m.memory = make_memory(*m.decoder, memory);
  m.memory->initialise(seed);
  return m;
}

void save_model(const Model& model, const std::string& path, const std::string& tokenizer_from) {
  FolderWriter folder(path, /*replace=*/true);
  folder.json("config.json", model.decoder->config().original);
  const Naming naming = file_naming(model.decoder->config());
  write_safetensors(folder.file("model.safetensors"), export_parameters(model.decoder->parameters(), naming),
                    {{"format", "pt"}});
  write_memory(model, folder);
  if (!tokenizer_from.empty()) take_tokenizer_along(tokenizer_from, folder.file(""));
  folder.commit();
}

void save_adapter(const Model& model, const LoraOptions& lora, const std::vector<Parameter>& whole,
                  const std::string& base, const std::string& path) {
  FolderWriter folder(path, /*replace=*/true);
  write_adapter(folder, export_adapter(*model.decoder, lora, base, whole));
  write_memory(model, folder);
  folder.commit();
}

}  // namespace mneme
