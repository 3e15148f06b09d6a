#include "train/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/hf_folder.h"
#include "memory/state_file.h"

namespace mneme {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFormat = "mneme-checkpoint-2";

std::string name_of(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%09lld", static_cast<long long>(step));
  return name;
}

// The first key, with dots, whose values differ.
std::string first_difference(const nlohmann::json& a, const nlohmann::json& b, const std::string& at = {}) {
  if (a == b) return {};
  if (!a.is_object() || !b.is_object()) return at + " was " + a.dump() + " and is " + b.dump();
  nlohmann::json all = a;
  all.update(b);
  for (const auto& [key, unused] : all.items()) {
    const std::string found = first_difference(a.value(key, nlohmann::json()), b.value(key, nlohmann::json()),
                                               at.empty() ? key : at + "." + key);
    if (!found.empty()) return found;
  }
  return {};
}

void remove_folder(const std::string& path) {
  // Under a name that no list shows, so that a killed removal leaves nothing that looks whole.
  const std::string away = path + ".old";
  std::error_code ignored;
  fs::rename(path, away, ignored);
  fs::remove_all(away, ignored);
}

}  // namespace

Checkpoints::Checkpoints(const std::string& run_folder, int64_t keep)
    : folder_(join_path(run_folder, "checkpoints")), keep_(keep) {
  make_folders(folder_);
}

void Checkpoints::clean() const {
  for (const std::string& name : list_folder(folder_)) {
    if (name.rfind("step-", 0) == 0 && name.find('.') != std::string::npos)
      fs::remove_all(join_path(folder_, name));
  }
}

std::vector<std::string> Checkpoints::names() const {
  std::vector<std::string> out;
  for (const std::string& name : list_folder(folder_)) {
    if (name.rfind("step-", 0) == 0 && name.find('.') == std::string::npos) out.push_back(name);
  }
  return out;
}

std::string Checkpoints::path(int64_t step) const { return join_path(folder_, name_of(step)); }

void Checkpoints::save(const TrainerState& state, const nlohmann::json& identity,
                       const std::vector<Parameter>& parameters, const NamedTensors& optimizer) {
  NamedTensors weights;
  for (const Parameter& p : parameters) {
    weights.emplace_back(p.name, p.value().detach().cpu());
    if (at::isfinite(weights.back().second).all().item<bool>()) continue;
    throw Error(Kind::numeric,
                "step " + std::to_string(state.step) + ": '" + p.name + "' is no longer finite",
                "the checkpoints that are there stay as they are; lower --train.optimizer.lr");
  }
  FolderWriter folder(path(state.step), /*replace=*/true);
  write_safetensors(folder.file("weights.safetensors"), weights);
  write_safetensors(folder.file("optimizer.safetensors"), optimizer);
  if (state.texts.size() > 0) save_state(state.texts, "", folder.file("texts.safetensors"));
  folder.json("trainer.json", {{"format", kFormat},
                               {"data", state.data},
                               {"step", state.step},
                               {"identity", identity},
                               {"smoothed_loss", state.smoothed},
                               {"lowest_loss", state.lowest},
                               {"best_step", state.best_step},
                               {"best_loss", state.best_loss}});
  folder.commit();
  prune(state);
}

void Checkpoints::prune(const TrainerState& state) const {
  if (state.best_step >= 0) {
    const std::string link = join_path(folder_, "best"), fresh = link + ".new";
    std::error_code ignored;
    fs::remove(fresh, ignored);
    fs::create_directory_symlink(name_of(state.best_step), fresh);
    fs::rename(fresh, link);
  }
  const std::vector<std::string> all = names();
  for (size_t i = 0; i + static_cast<size_t>(keep_) < all.size(); ++i) {
    if (all[i] != name_of(state.best_step)) remove_folder(join_path(folder_, all[i]));
  }
}

SafetensorsFile Checkpoints::weights_in(const std::string& path, const std::vector<Parameter>& parameters) {
  SafetensorsFile file = SafetensorsFile::open(join_path(path, "weights.safetensors"));
  for (const Parameter& p : parameters) {
    const Tensor t = p.value();
    if (!file.contains(p.name))
      throw Error(Kind::input, file.where() + ": '" + p.name + "' is missing, expected " + describe(t));
    if (file.info(p.name).shape != t.sizes().vec() || file.info(p.name).dtype != t.scalar_type()) {
      throw Error(Kind::input, file.where() + ": '" + p.name + "' is " + describe(file.tensor(p.name)) +
                                   ", expected " + describe(t));
    }
  }
  return file;
}

Checkpoints::Found Checkpoints::newest(const nlohmann::json& identity,
                                       const std::vector<Parameter>& parameters) const {
  const std::vector<std::string> all = names();
  MNEME_CHECK(!all.empty());
  const std::string at = join_path(folder_, all.back()), where = join_path(at, "trainer.json");
  const nlohmann::json json = read_json(where);
  const JsonReader trainer(json, where);
  if (trainer.string("format") != kFormat) trainer.fail("format", std::string("'") + kFormat + "'");
  const std::string difference = first_difference(trainer.at("identity"), identity);
  if (!difference.empty()) {
    throw Error(Kind::usage, at + " belongs to another training: " + difference,
                "use the same configuration, or another --out folder");
  }
  TrainerState state;
  state.step = trainer.integer_in("step", 0, int64_t{1} << 40);
  state.smoothed = trainer.number("smoothed_loss");
  state.lowest = trainer.number("lowest_loss");
  state.best_step = trainer.integer_in("best_step", -1, state.step);
  state.best_loss = trainer.number("best_loss");
  if (const nlohmann::json* data = trainer.find("data")) state.data = *data;
  const std::string texts = join_path(at, "texts.safetensors");
  if (file_exists(texts)) state.texts = load_state(texts, "");
  return {state, at, weights_in(at, parameters),
          SafetensorsFile::open(join_path(at, "optimizer.safetensors"))};
}

void load_weights(const SafetensorsFile& file, const std::vector<Parameter>& parameters) {
  const at::NoGradGuard no_grad;
  for (const Parameter& p : parameters) p.value().copy_(file.tensor(p.name));
}

}  // namespace mneme
