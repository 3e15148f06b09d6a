#include "memory/model_folder.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "model/load.h"

namespace mneme {
namespace {

constexpr const char* kFormat = "mneme-model-1";

MemoryOptions stored_memory(const std::string& folder) {
  const std::string path = join_path(folder, "mneme.json");
  MemoryOptions options;
  if (!file_exists(path)) return options;
  const nlohmann::json j = read_json(path);
  const JsonReader reader(j, path);
  if (reader.string("format") != kFormat) {
    throw Error(Kind::input, path + ": expected the format '" + std::string(kFormat) + "', found '" +
                                 reader.string("format") + "'");
  }
  options_from_json(reader.at("memory"), path, OptionTable(options));
  return options;
}

// Published GPT-2 folders leave the root of the names out.
Naming backbone_naming(const ModelConfig& config, const TensorSource& source) {
  const std::string root = NameMap(config).root();
  bool rooted = false;
  for (const std::string& n : source.names) rooted = rooted || n.rfind(root, 0) == 0;
  const Naming plain = file_naming(config);
  if (rooted) return plain;
  return [plain, root](const Parameter& p) {
    FileName f = plain(p);
    if (f.name.rfind(root, 0) == 0) f.name = f.name.substr(root.size());
    return f;
  };
}

}  // namespace

Model load_model(const std::string& folder, const ModelLoad& load) {
  const std::string config_path = join_path(folder, "config.json");
  if (!file_exists(config_path)) {
    throw Error(Kind::input, folder + ": no config.json", "give a folder in the Hugging Face layout");
  }
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(read_json(config_path)));
  m.options = load.memory ? *load.memory : stored_memory(folder);
  const ModelConfig& config = m.decoder->config();
  const TensorSource source = source_of(SafetensorsFile::open(join_path(folder, "model.safetensors")));
  const NameMap names(config);
  LoadRules rules;
  rules.dtype = load.weights;
  rules.ignorable = [&](const std::string& n) {
    return names.ignorable(n) || (config.tied_head && n == "lm_head.weight");
  };
  load_parameters(m.decoder->parameters(), backbone_naming(config, source), source, rules);
  m.decoder->to(load.device, load.weights, load.activations);
  m.memory = make_memory(*m.decoder, m.options);
  m.memory->initialise(load.seed);
  const std::string added = join_path(folder, "memory.safetensors");
  if (!m.memory->parameters().empty()) {
    if (file_exists(added) && !load.memory) {
      load_parameters(m.memory->parameters(), file_naming(config), source_of(SafetensorsFile::open(added)),
                      rules);
    } else {
      log_info("model", "the {} parameters of '{}' are new, drawn from seed {}",
               m.memory->parameters().size(), m.options.method, load.seed);
    }
    m.memory->to(load.device, load.weights);
  }
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

void save_model(const Model& model, const std::string& folder) {
  namespace fs = std::filesystem;
  const std::string staging = folder + ".part-" + std::to_string(::getpid());
  fs::remove_all(staging);
  make_folders(staging);
  write_file(join_path(staging, "config.json"), dump_json(model.decoder->config().original, 2) + "\n");
  write_safetensors(join_path(staging, "model.safetensors"),
                    export_parameters(model.decoder->parameters(), file_naming(model.decoder->config())),
                    {{"format", "pt"}});
  const nlohmann::json mneme = {{"format", kFormat}, {"memory", options_json(model.options)}};
  write_file(join_path(staging, "mneme.json"), dump_json(mneme, 2) + "\n");
  if (!model.memory->parameters().empty()) {
    write_safetensors(join_path(staging, "memory.safetensors"),
                      export_parameters(model.memory->parameters(), file_naming(model.decoder->config())));
  }
  if (fs::exists(folder)) {
    const std::string old = folder + ".old-" + std::to_string(::getpid());
    fs::rename(folder, old);
    fs::rename(staging, folder);
    fs::remove_all(old);
  } else {
    fs::rename(staging, folder);
  }
}

}  // namespace mneme
