#include "convert/describe.h"

#include <algorithm>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/adapter.h"
#include "io/gguf.h"
#include "io/gguf_config.h"
#include "io/hf_folder.h"
#include "io/torch_file.h"
#include "io/weights.h"
#include "memory/model_folder.h"
#include "memory/state_file.h"
#include "model/architectures.h"
#include "text/tokenizer.h"

namespace mneme {
namespace {

using Json = nlohmann::ordered_json;

// A part that cannot be read is described by what is wrong with it.
Json attempt(const std::function<Json()>& part) {
  try {
    return part();
  } catch (const Error& e) {
    return {{"error", e.message()}};
  }
}

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  return n;
}

class TensorList {
 public:
  void add(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape) {
    tensors_.push_back({{"name", name}, {"dtype", dtype}, {"shape", shape}});
    dtypes_[dtype] += elements(shape);
  }
  void add(const WeightSource& source) {
    for (const std::string& name : source.names()) {
      const WeightSource::Info info = source.info(name);
      add(name, safetensors_dtype(info.dtype), info.shape);
    }
  }
  void put(Json& out) const {
    int64_t total = 0;
    for (const auto& [dtype, n] : dtypes_) total += n;
    out["elements"] = total;
    out["dtypes"] = dtypes_;
    out["tensors"] = tensors_;
  }

 private:
  std::vector<Json> tensors_;
  std::map<std::string, int64_t> dtypes_;  // elements of each
};

Json describe_architecture(const nlohmann::json& json) {
  const ModelConfig c = parse_model_config(json);
  static constexpr const char* kPositions[] = {"none", "learned", "rotary", "alibi"};
  Json out = {{"name", c.architecture},
              {"layers", c.layers},
              {"width", c.width},
              {"embedding_width", c.embed_width},
              {"heads", c.heads},
              {"kv_heads", c.kv_heads},
              {"head_width", c.head_width},
              {"inner", c.inner},
              {"vocabulary", c.vocab},
              {"max_positions", c.max_positions},
              {"positions", kPositions[static_cast<size_t>(c.position)]},
              {"tied_head", c.tied_head},
              {"window", c.window},
              {"parameters", parameter_count(c)}};
  return out;
}

Json describe_memory(const HfFolder& folder) {
  const MemoryOptions options = stored_memory(folder);
  Json out = {{"method", options.method}, {"summary", find_method(options.method).summary}};
  const nlohmann::json all = options_json(options);
  if (all.contains(options.method)) out["options"] = all.at(options.method);
  if (folder.has("memory.safetensors")) {
    TensorList tensors;
    tensors.add(WeightSource::open(folder.file("memory.safetensors")));
    tensors.put(out);
  }
  return out;
}

Json describe_tokenizer(const std::string& path) {
  const std::shared_ptr<const Tokenizer> t = load_tokenizer(path);
  const SpecialIds& s = t->special();
  return {{"source", t->source()},
          {"vocabulary", t->vocab_size()},
          {"special", {{"bos", s.bos}, {"eos", s.eos}, {"pad", s.pad}, {"unk", s.unk}}},
          {"added_tokens", t->added_tokens().size()},
          {"chat_template", !t->chat_template().empty()}};
}

Json describe_adapter(const HfFolder& folder) {
  Json out;
  const Adapter adapter = read_adapter(folder.path());
  out = {{"rank", adapter.config.rank},
         {"alpha", adapter.config.alpha},
         {"base_model", adapter.config.base_model},
         {"target_modules", adapter.config.target_modules},
         {"pairs", adapter.pairs.size()},
         {"whole_tensors", adapter.whole.size()}};
  TensorList tensors;
  for (const auto& [name, pair] : adapter.pairs) {
    tensors.add(name + (pair.embedding ? ".lora_embedding_A" : ".lora_A"),
                safetensors_dtype(pair.a.scalar_type()), pair.a.sizes().vec());
    tensors.add(name + (pair.embedding ? ".lora_embedding_B" : ".lora_B"),
                safetensors_dtype(pair.b.scalar_type()), pair.b.sizes().vec());
  }
  for (const auto& [name, t] : adapter.whole)
    tensors.add(name, safetensors_dtype(t.scalar_type()), t.sizes().vec());
  tensors.put(out);
  return out;
}

int64_t folder_bytes(const std::string& path) {
  if (!is_folder(path)) return static_cast<int64_t>(file_size(path));
  int64_t total = 0;
  for (const std::string& name : list_folder(path)) {
    const std::string file = join_path(path, name);
    if (file_exists(file) && !is_folder(file)) total += static_cast<int64_t>(file_size(file));
  }
  return total;
}

Json describe_folder(const HfFolder& folder) {
  const bool model = folder.has("config.json");
  Json out = {
      {"kind", model ? "model" : "adapter"}, {"path", folder.path()}, {"bytes", folder_bytes(folder.path())}};
  if (!model) {
    out.update(describe_adapter(folder));
    if (!folder.tokenizer_files().empty())
      out["tokenizer"] = attempt([&] { return describe_tokenizer(folder.path()); });
    return out;
  }
  out["architecture"] = attempt([&] { return describe_architecture(folder.config()); });
  out["memory"] = attempt([&] { return describe_memory(folder); });
  if (!folder.tokenizer_files().empty())
    out["tokenizer"] = attempt([&] { return describe_tokenizer(folder.path()); });
  if (folder.is_adapter()) out["adapter"] = attempt([&] { return describe_adapter(folder); });
  try {
    const WeightSource weights = WeightSource::open(folder.path());
    out["format"] = weights.format();
    TensorList tensors;
    tensors.add(weights);
    tensors.put(out);
  } catch (const Error& e) {
    out["weights"] = {{"error", e.message()}};
  }
  return out;
}

Json describe_gguf(const std::string& path) {
  const GgufFile file = GgufFile::open(path);
  Json out = {{"kind", "model"}, {"path", path}, {"bytes", file_size(path)}, {"format", "gguf"}};
  out["architecture"] = attempt([&] { return describe_architecture(hf_config_of(file)); });
  out["memory"] = {{"method", "none"}, {"summary", find_method("none").summary}};
  if (file.metadata().find("tokenizer.ggml.model") != nullptr)
    out["tokenizer"] = attempt([&] { return describe_tokenizer(path); });
  TensorList tensors;
  for (const std::string& name : file.names()) {
    const GgufFile::Info& info = file.info(name);
    tensors.add(name, ggml_type_name(static_cast<uint32_t>(info.type)), info.shape);
  }
  tensors.put(out);
  return out;
}

Json describe_row(const Row& row) {
  Json out = {{"position", row.position},
              {"phase", row.phase},
              {"segment", row.segment},
              {"bytes", row.bytes()},
              {"working_slots", row.working.size()}};
  for (const auto& [name, t] : row.tensors) out["tensors"][name] = t.sizes().vec();
  for (const auto& [name, c] : row.caches) out["caches"][name] = c.size();
  for (const auto& [name, n] : row.numbers) out["numbers"][name] = n;
  return out;
}

// A session's note (infer/session.h) in numbers.
Json describe_note(const std::string& text, const std::string& path) {
  const nlohmann::json note = parse_json(text, path + ": note");
  const JsonReader in(note, path + ": note");
  Json out = {{"kind", in.string("kind", "")}};
  if (in.has("text")) out["tokens"] = in.at("text").size();
  if (in.has("keep")) out["keep"] = in.integer("keep");
  const auto extra = in.object_if("extra");
  if (extra && extra->has("messages")) out["messages"] = extra->at("messages").size();
  return out;
}

Json describe_state(const std::string& path) {
  const StateFile file = read_state_file(path, "");
  Json out = {
      {"kind", "state"}, {"path", path}, {"bytes", file_size(path)}, {"fingerprint", file.fingerprint}};
  if (!file.note.empty()) out["note"] = describe_note(file.note, path);
  out["rows"] = Json::array();
  for (const Row& row : file.state.rows) out["rows"].push_back(describe_row(row));
  return out;
}

Json describe_weights(const std::string& path) {
  const WeightSource source = WeightSource::open(path);
  Json out = {{"kind", "weights"}, {"path", path}, {"bytes", file_size(path)}, {"format", source.format()}};
  TensorList tensors;
  tensors.add(source);
  tensors.put(out);
  return out;
}

Json describe_file(const std::string& path) {
  const Blob blob = map_file(path);
  if (GgufFile::looks_like(blob)) return describe_gguf(path);
  if (TorchFile::looks_like(blob)) return describe_weights(path);
  std::optional<SafetensorsFile> tensors;
  try {
    tensors = SafetensorsFile::parse(blob, path);
  } catch (const Error& as_tensors) {
    try {
      return {{"kind", "tokenizer"},
              {"path", path},
              {"bytes", file_size(path)},
              {"tokenizer", describe_tokenizer(path)}};
    } catch (const Error&) {
      throw Error(Kind::input, "'" + path + "' is no model, adapter, state or tokenizer that mneme knows",
                  "as safetensors: " + as_tensors.message());
    }
  }
  const auto format = tensors->metadata().find("format");
  if (format != tensors->metadata().end() && format->second.rfind("mneme-state", 0) == 0)
    return describe_state(path);
  return describe_weights(path);
}

}  // namespace

Json describe_path(const std::string& path) {
  if (!is_folder(path)) {
    if (!file_exists(path)) throw Error(Kind::input, "there is nothing at '" + path + "'");
    return describe_file(path);
  }
  const HfFolder folder = HfFolder::open(path);
  if (folder.has("config.json") || folder.is_adapter()) return describe_folder(folder);
  if (!folder.tokenizer_files().empty()) {
    return {{"kind", "tokenizer"},
            {"path", folder.path()},
            {"bytes", folder_bytes(folder.path())},
            {"tokenizer", describe_tokenizer(folder.path())}};
  }
  if (is_folder(folder.file("model")))
    throw Error(Kind::input, "'" + path + "' is no model but a folder that holds one",
                "try '" + folder.file("model") + "'");
  throw Error(Kind::input, "'" + path + "' holds no config.json, adapter_config.json or tokenizer",
              "give a model folder, an adapter, a file of tensors, a GGUF file or a state");
}

}  // namespace mneme
