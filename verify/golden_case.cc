#include "verify/golden_case.h"

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/glob.h"
#include "base/json.h"

namespace mneme {
namespace {

using Json = nlohmann::json;

OutputRule read_rule(const Json& j, const std::string& where) {
  static const std::set<std::string> known = {"match",     "exact", "atol", "rtol",       "scale",
                                              "unordered", "mask",  "axis", "grad_above", "skip"};
  for (const auto& [key, value] : j.items()) {
    if (known.count(key) == 0)
      throw Error(Kind::input, where + ": unknown key '" + key + "' of an output rule");
  }
  OutputRule r;
  r.match = j.at("match").get<std::string>();
  r.exact = j.value("exact", false);
  r.skip = j.value("skip", false);
  r.atol = j.value("atol", 0.0);
  r.rtol = j.value("rtol", 0.0);
  const std::string scale = j.value("scale", std::string());
  if (!scale.empty() && scale != "max")
    throw Error(Kind::input, where + ": scale '" + scale + "' of an output rule", "known is max");
  r.scale_max = scale == "max";
  r.unordered = j.value("unordered", false);
  r.mask = j.value("mask", std::string());
  r.axis = j.value("axis", int64_t{1});
  if (j.contains("grad_above")) r.grad_above = j.at("grad_above").get<double>();
  return r;
}

void dotted_paths(const Json& j, const std::string& at, std::vector<std::string>& out) {
  if (!j.is_object()) {
    out.push_back(at);
    return;
  }
  for (const auto& [key, value] : j.items()) dotted_paths(value, at.empty() ? key : at + "." + key, out);
}

}  // namespace

GoldenCase GoldenCase::open(const std::string& folder) {
  GoldenCase c;
  c.folder_ = folder;
  const std::string where = join_path(folder, "case.json");
  try {
    const Json spec = read_json(where);
    c.method_ = spec.at("method").get<std::string>();
    c.kind_ = spec.at("kind").get<std::string>();
    c.inputs_ = spec.at("inputs").get<std::vector<std::string>>();
    for (const Json& r : spec.at("outputs")) c.rules_.push_back(read_rule(r, where));
  } catch (const Json::exception& e) {
    throw Error(Kind::input, where + ": " + e.what(), "expected method, kind, inputs and outputs");
  }
  c.config_ = read_json(join_path(folder, "config.json"));
  if (const auto path = join_path(folder, "weights.safetensors"); file_exists(path))
    c.weights_ = SafetensorsFile::open(path);
  std::vector<std::string> names;
  if (const auto path = join_path(folder, "io.safetensors"); file_exists(path)) {
    c.io_ = SafetensorsFile::open(path);
    names = c.io_->names();
  }
  for (const char* document : {"io.json", "prompts.json"}) {
    const std::string path = join_path(folder, document);
    if (!file_exists(path)) continue;
    c.document_ = read_json(path);
    if (c.document_.is_array()) {  // an element may lack what others have
      std::set<std::string> keys;
      for (const Json& element : c.document_) {
        for (const auto& [key, value] : element.items()) keys.insert(key);
      }
      names.insert(names.end(), keys.begin(), keys.end());
    } else {
      dotted_paths(c.document_, "", names);
    }
  }
  for (const std::string& name : names) {
    bool input = false;
    for (const std::string& p : c.inputs_) input = input || glob_match(p, name).has_value();
    if (input) continue;
    const OutputRule* rule = nullptr;
    for (const OutputRule& r : c.rules_) {
      if (!rule && glob_match(r.match, name)) rule = &r;
    }
    if (!rule)
      throw Error(Kind::input, where + ": '" + name + "' is neither an input nor an expected output");
    if (!rule->skip) c.expected_.emplace_back(name, rule);
  }
  return c;
}

Json GoldenCase::section(const char* name) const {
  return config_.contains(name) && config_.at(name).is_object() ? config_.at(name) : Json::object();
}

bool GoldenCase::has_input(const std::string& name) const {
  if (!io_ || !io_->contains(name)) return false;
  for (const std::string& p : inputs_) {
    if (glob_match(p, name)) return true;
  }
  return false;
}

Tensor GoldenCase::input(const std::string& name) const {
  if (!has_input(name)) throw Error(Kind::input, folder_ + ": the case has no input '" + name + "'");
  const Tensor t = io_->tensor(name);
  return t.scalar_type() == at::kInt ? t.to(at::kLong) : t;
}

TensorSource GoldenCase::weights() const {
  if (!weights_) return source_of(NamedTensors{}, folder_);
  return source_of(*weights_);
}

bool GoldenCase::expects(const std::string& name) const { return expects_count(name) > 0; }

int64_t GoldenCase::expects_count(const std::string& pattern) const {
  int64_t n = 0;
  for (const auto& [name, rule] : expected_) n += glob_match(pattern, name) ? 1 : 0;
  return n;
}

std::vector<int64_t> GoldenCase::expected_shape(const std::string& name) const {
  MNEME_CHECK(io_.has_value());
  return io_->info(name).shape;
}

Tensor GoldenCase::any(const std::string& name) const {
  return io_ && io_->contains(name) ? io_->tensor(name) : Tensor();
}

void Results::put(const std::string& name, Tensor value) {
  if (tensors.count(name) == 0) order.push_back(name);
  tensors[name] = std::move(value);
}

}  // namespace mneme
