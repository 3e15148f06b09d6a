#include "train/metrics.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/files.h"

namespace mneme {

Metrics::Metrics(const std::string& run_folder, int64_t step)
    : path_(join_path(run_folder, "metrics.jsonl")) {
  std::vector<nlohmann::json> kept;
  std::string text;
  if (file_exists(path_)) {
    std::istringstream lines(read_file(path_));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
      if (!j.is_object() || j.value("step", int64_t{-1}) < 0 || j["step"] > step) continue;
      kept.push_back(j);
      text += line + "\n";
    }
    write_file(path_, text);
  }
  for (const std::string& name : list_folder(run_folder)) {
    if (name.rfind("events.out.tfevents.", 0) == 0) remove_file(join_path(run_folder, name));
  }
  events_ = std::make_unique<EventWriter>(run_folder);
  for (const nlohmann::json& line : kept) event(line);
  events_->flush();
}

void Metrics::event(const nlohmann::json& line) {
  const auto step = line.at("step").get<int64_t>();
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() && key != "step") events_->scalar(key, step, value.get<double>());
  }
}

void Metrics::add(const nlohmann::json& line) {
  std::ofstream out(path_, std::ios::app);
  out << line.dump() << "\n";
  if (!out.flush()) throw Error(Kind::resource, "cannot write to " + path_, "is the disk full?");
  event(line);
  events_->flush();
}

nlohmann::json method_figures(const Model& model, const Trace& trace) {
  const at::NoGradGuard no_grad;
  struct Mean {
    double sum = 0;
    double count = 0;
  };
  std::map<std::string, Mean> means;
  for (const Trace::Item& item : trace.items) {
    const Tensor value = item.value.detach().to(at::kDouble);
    if (value.numel() == 0) continue;
    // Vectors of the model's width mean little one by one, so their size is told; numbers are averaged.
    const bool vectors = value.dim() > 1 && value.size(-1) == model.decoder->config().embed_width;
    Mean& m = means[vectors ? item.name + "_rms" : item.name];
    m.sum += vectors ? value.square().mean().sqrt().item<double>() : value.mean().item<double>();
    m.count += 1;
  }
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [name, m] : means) out[name] = m.sum / m.count;
  for (const Parameter& p : model.memory->parameters()) {
    const size_t dot = p.name.rfind('.');
    if (p.name.substr(dot == std::string::npos ? 0 : dot + 1) != "gate") continue;
    out["gate"] = p.value().detach().to(at::kDouble).sigmoid().mean().item<double>();
  }
  return out;
}

}  // namespace mneme
