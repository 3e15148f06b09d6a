// The TOML of --config, the JSON of checkpoints, or the words of a command line (a line each): the first byte
// chooses.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"

namespace {

struct Inner {
  double lr = 0.1;
  std::vector<double> betas = {0.9};
  std::string kind = "adamw";
  void visit(mneme::OptionVisitor& v) {
    v.field("lr", lr, "a number");
    v.field("betas", betas, "numbers");
    v.choice("kind", kind, {"adamw", "sgd"}, "a choice");
  }
};

struct Outer {
  mneme::CommonOptions common;
  std::vector<std::string> files;
  std::vector<int64_t> layers;
  std::optional<int64_t> limit;
  std::optional<double> clip;
  Inner optimizer;
  void visit(mneme::OptionVisitor& v) {
    common.visit(v);
    v.positional("files", files, "words");
    v.field("layers", layers, "integers");
    v.field("limit", limit, "maybe an integer");
    v.field("clip", clip, "maybe a number");
    v.section("optimizer", optimizer, "a section");
  }
};

// Files that the words name stay closed: --config is another's to test.
void parse_words(std::string_view text, const mneme::OptionTable& table) {
  std::vector<std::string> words = {"fuzz"};
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string word(text.substr(begin, end - begin));
    if (word.rfind("--config", 0) != 0 && word.find('\0') == std::string::npos) words.push_back(word);
    begin = end + 1;
  }
  std::vector<const char*> argv;
  for (const std::string& w : words) argv.push_back(w.c_str());
  const mneme::Parsed parsed = mneme::parse_command_line(static_cast<int>(argv.size()), argv.data(), table);
  if (parsed.help) {
    if (mneme::options_help(table).empty() || mneme::options_markdown(table).empty()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outer options;
  try {
    const mneme::OptionTable table(options);
    if (data[0] % 3 == 0) {
      mneme::options_from_toml(text, "input", table);
    } else if (data[0] % 3 == 1) {
      mneme::options_from_json(mneme::parse_json(text, "input"), "input", table);
    } else {
      parse_words(text, table);
    }
  } catch (const mneme::Error&) {
    return 0;
  }
  // What was accepted survives a round trip through both forms.
  Outer again;
  mneme::options_from_toml(mneme::options_to_toml(mneme::OptionTable(options)), "dump",
                           mneme::OptionTable(again));
  MNEME_CHECK(mneme::options_json(again) == mneme::options_json(options));
  return 0;
}
