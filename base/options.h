// Options, declared once. A command's options are a struct with one `visit`; flags, the TOML file, JSON in
// checkpoints, --dump-config, the help text and docs/cli.md all come from it.
//
//   struct TrainOptions {
//     int64_t steps = 1000;
//     OptimizerOptions optimizer;                       // a nested struct is a section: --optimizer.lr
//     void visit(OptionVisitor& v) {
//       v.field("steps", steps, "updates of the weights");
//       v.section("optimizer", optimizer, "AdamW or SGD");
//     }
//   };
//
// A key is its path with dots. An unknown key or flag is an Error{usage} that names the nearest valid one.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void field(std::string_view name, bool& value, std::string_view help) = 0;
  virtual void field(std::string_view name, int64_t& value, std::string_view help) = 0;
  virtual void field(std::string_view name, double& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::string& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::vector<int64_t>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::vector<double>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::vector<std::string>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::optional<int64_t>& value, std::string_view help) = 0;
  virtual void field(std::string_view name, std::optional<double>& value, std::string_view help) = 0;
  // A string out of a fixed set.
  virtual void choice(std::string_view name, std::string& value, std::initializer_list<std::string_view> allowed,
                      std::string_view help) = 0;
  template <class Section>
  void section(std::string_view name, Section& section, std::string_view help) {
    enter(name, help);
    section.visit(*this);
    leave();
  }

 protected:
  virtual void enter(std::string_view name, std::string_view help) = 0;
  virtual void leave() = 0;
};

}  // namespace mneme
