// The TOML of --config and the JSON of checkpoints: the first byte chooses.
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
    v.field("files", files, "words");
    v.field("layers", layers, "integers");
    v.field("limit", limit, "maybe an integer");
    v.field("clip", clip, "maybe a number");
    v.section("optimizer", optimizer, "a section");
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Outer options;
  try {
    const mneme::OptionTable table(options);
    if (data[0] % 2 == 0) {
      mneme::options_from_toml(text, "input", table);
    } else {
      mneme::options_from_json(mneme::parse_json(text, "input"), "input", table);
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
