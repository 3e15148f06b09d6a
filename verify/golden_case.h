// A reference case on disk: what was put into an original program and what came out, with the rules of
// comparison (case.json; the format is described in docs/formats.md). No computation here: verify/run.h does
// that.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/load.h"

namespace mneme {

struct OutputRule {
  std::string match;
  bool exact = false, scale_max = false, unordered = false, skip = false;
  double atol = 0, rtol = 0;
  std::string mask;  // name of a tensor, may hold a '*'
  int64_t axis = 1;  // of the compared tensor, that the mask's second dimension stands for
  std::optional<double> grad_above;
};

class GoldenCase {
 public:
  static GoldenCase open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  const std::string& method() const { return method_; }
  const std::string& kind() const { return kind_; }
  const nlohmann::json& config() const { return config_; }
  // A section of the config, empty if absent.
  nlohmann::json section(const char* name) const;

  bool has_input(const std::string& name) const;
  Tensor input(const std::string& name) const;                  // throws Error{input} if it is not an input
  const nlohmann::json& document() const { return document_; }  // io.json or prompts.json
  bool is_document() const { return !document_.is_null(); }
  TensorSource weights() const;  // no names where the case has none

  // Names that a run must produce, in the file's order, with their rules; shapes are known before computing.
  const std::vector<std::pair<std::string, const OutputRule*>>& expected() const { return expected_; }
  bool expects(const std::string& name) const;
  int64_t expects_count(const std::string& pattern) const;  // names that match
  std::vector<int64_t> expected_shape(const std::string& name) const;
  Tensor any(const std::string& name) const;  // input or expected tensor; undefined if absent

 private:
  std::string folder_, method_, kind_;
  nlohmann::json config_, document_;
  std::vector<std::string> inputs_;
  std::vector<OutputRule> rules_;
  std::vector<std::pair<std::string, const OutputRule*>> expected_;
  std::optional<SafetensorsFile> io_, weights_;
};

// What a run produced.
struct Results {
  void put(const std::string& name, Tensor value);
  std::map<std::string, Tensor> tensors;
  std::map<std::string, nlohmann::json> values;  // of document cases, by dotted path
  std::map<std::string, std::vector<Tensor>>
      gradients;  // by output name ("after_step.x"): what the optimizer saw
  std::vector<std::string> order;
};

struct Comparison {
  std::string name;
  bool ok = false;
  double error = 0;  // largest absolute difference
  double share = 0;  // of the tolerance, at the worst place
  std::string note;  // why it failed, or what was compared
};
Comparison compare(const GoldenCase& golden, const std::string& name, const OutputRule& rule,
                   const Results& results);

}  // namespace mneme
