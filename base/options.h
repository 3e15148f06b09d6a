// Options, declared once. A command's options are a struct with one `visit`; flags, the TOML file, JSON in
// checkpoints, --dump-config, the help text and docs/cli.md all come from it.
//
//   struct TrainOptions {
//     CommonOptions common;                             // --device --dtype --threads --seed --quiet --json
//     std::string model;
//     int64_t steps = 1000;
//     OptimizerOptions optimizer;                       // a nested struct is a section: --optimizer.lr
//     void visit(OptionVisitor& v) {
//       v.required("model", model, "folder with the model");
//       v.field("steps", steps, "updates of the weights");
//       v.section("optimizer", optimizer, "AdamW or SGD");
//       common.visit(v);                                // not a section: its keys stand at the top
//     }
//   };
//
// A key is its path with dots; in a flag '-' and '_' are the same. What the struct holds before the call is
// the default. An unknown key or flag is an Error that names the nearest valid one. Nothing is assigned
// unless all is valid.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mneme {

enum class Need { optional, required };

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
  virtual void choice(std::string_view name, std::string& value,
                      std::initializer_list<std::string_view> allowed, std::string_view help) = 0;
  virtual void choice(std::string_view name, std::string& value, const std::vector<std::string>& allowed,
                      std::string_view help) = 0;
  // A string that the user must give: empty after flags and files is an error.
  virtual void required(std::string_view name, std::string& value, std::string_view help) {
    field(name, value, help);
  }
  // Words of the command line that are no flags fill these in order of declaration; a list takes all that
  // follow. They are fields too (a flag and a key of the file).
  virtual void positional(std::string_view name, std::string& value, std::string_view help,
                          Need = Need::optional) {
    field(name, value, help);
  }
  virtual void positional(std::string_view name, std::vector<std::string>& value, std::string_view help,
                          Need = Need::optional) {
    field(name, value, help);
  }
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

template <class T>
concept Visitable = requires(T& t, OptionVisitor& v) {
  t.visit(v);
};

// What every command understands, with one meaning everywhere.
struct CommonOptions {
  std::string device = "auto";
  std::string dtype = "auto";
  int64_t threads = 0;
  int64_t seed = 0;
  bool quiet = false;
  bool json = false;
  void visit(OptionVisitor& v);
};

// One option of a visited struct: its key and a pointer to its value.
struct Option {
  using Target =
      std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<double>*,
                   std::vector<std::string>*, std::optional<int64_t>*, std::optional<double>*>;
  std::string key, help;
  Target target;
  std::vector<std::string> allowed;  // of a choice; empty: any
  bool positional = false, required = false;
};

// All options of a struct, in the order of declaration. It points into the struct, which must outlive it.
class OptionTable {
 public:
  template <Visitable T>
  explicit OptionTable(T& visitable) {
    const auto collector = make_collector(*this);
    visitable.visit(*collector);
    finish();
  }
  struct Section {
    std::string key, help;
  };
  std::vector<Option> options;
  std::vector<Section> sections;
  const Option* find(std::string_view key) const;  // nullptr when there is none

 private:
  static std::unique_ptr<OptionVisitor> make_collector(OptionTable& table);
  void finish() const;
};

struct Parsed {
  bool help = false;            // --help or -h stood there; nothing was assigned
  bool markdown = false;        // --help=markdown
  bool dump_config = false;     // print options_to_toml and stop
  std::set<std::string> given;  // keys that a flag or a file has set
};

// argv[0] is the command's name and only serves in messages ("mneme train --help").
Parsed parse_command_line(int argc, const char* const* argv, const OptionTable& table);
template <Visitable T>
Parsed parse_command_line(int argc, const char* const* argv, T& options) {
  return parse_command_line(argc, argv, OptionTable(options));
}

// Reads a TOML text as --config does. `name` stands in messages. Throws Error{usage}.
void options_from_toml(std::string_view text, const std::string& name, const OptionTable& table,
                       std::set<std::string>* given = nullptr);
// Reads what options_to_json wrote; keys that are absent keep their values. Throws Error{input}.
void options_from_json(const nlohmann::json& json, const std::string& name, const OptionTable& table);

std::string options_to_toml(const OptionTable& table);
nlohmann::json options_to_json(const OptionTable& table);
void options_to_json(const OptionTable& table, nlohmann::json& json);
std::string options_help(const OptionTable& table);      // aligned for a terminal
std::string options_markdown(const OptionTable& table);  // a table for docs/cli.md

// The candidate with the fewest edits (insert, delete, replace, swap neighbours) from `word`; empty if there
// is none.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// options_to_json of a const struct; the caller includes <nlohmann/json.hpp> (the parameter only delays the
// need for it).
template <Visitable T, class Json = nlohmann::json>
Json options_json(const T& options) {
  // visit() takes a mutable struct because it also assigns; reading does not.
  Json json;
  options_to_json(OptionTable(const_cast<T&>(options)), json);
  return json;
}

}  // namespace mneme
