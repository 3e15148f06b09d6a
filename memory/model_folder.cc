#include "memory/model_folder.h"

#include "base/json.h"
#include "base/log.h"
#include "io/weights.h"
#include "model/load.h"

namespace mneme {
namespace {

constexpr const char* kFormat = "mneme-model-1";

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

Model load_model(const std::string& path, const ModelLoad& load) {
  const HfFolder folder = HfFolder::open(path);
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(folder.config()));
  m.options = load.memory ? *load.memory : stored_memory(folder);
  const ModelConfig& config = m.decoder->config();
  const TensorSource source = source_of(WeightSource::open(path));
  const NameMap names(config);
  LoadRules rules;
  rules.dtype = load.weights;
  rules.ignorable = [&](const std::string& n) {
    return names.ignorable(n) || (config.tied_head && n == "lm_head.weight");
  };
  load_parameters(m.decoder->parameters(), stored_naming(config, source.names), source, rules);
  m.decoder->to(load.device, load.weights, load.activations);
  m.memory = make_memory(*m.decoder, m.options);
  m.memory->initialise(load.seed);
  if (m.memory->parameters().empty()) return m;
  if (folder.has("memory.safetensors") && m.options.method == stored_memory(folder).method) {
    load_parameters(m.memory->parameters(), file_naming(config),
                    source_of(SafetensorsFile::open(folder.file("memory.safetensors"))), rules);
  } else {
    log_info("model", "the {} parameters of '{}' are new, drawn from seed {}", m.memory->parameters().size(),
             m.options.method, load.seed);
  }
  m.memory->to(load.device, load.weights);
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
  folder.json("mneme.json", memory_json(model.options));
  if (!model.memory->parameters().empty()) {
    write_safetensors(folder.file("memory.safetensors"),
                      export_parameters(model.memory->parameters(), naming));
  }
  if (!tokenizer_from.empty()) {
    const HfFolder from = HfFolder::open(tokenizer_from);
    for (const std::string& name : from.tokenizer_files()) folder.copy(from, name);
  }
  folder.commit();
}

}  // namespace mneme
