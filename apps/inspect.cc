// mneme inspect: what a file or folder is.
#include <cstdio>

#include "apps/command.h"
#include "convert/describe.h"

namespace mneme {
extern const Command kInspectCommand;

namespace {

struct InspectOptions {
  CommonOptions common;
  std::string path;
  bool every_tensor = false;
  void visit(OptionVisitor& v) {
    v.positional("path", path, "model folder, adapter, safetensors, PyTorch or GGUF file, state, tokenizer",
                 Need::required);
    v.field("every_tensor", every_tensor, "a line for each tensor, instead of one for all layers");
    common.visit(v);
  }
};

int run_inspect(int argc, const char* const* argv) {
  InspectOptions o;
  if (!read_options(kInspectCommand, argc, argv, o)) return 0;
  const nlohmann::ordered_json d = describe_path(o.path);
  const std::string text = o.common.json
                               ? d.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                               : description_text(d, o.every_tensor);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace

const Command kInspectCommand = {"inspect", "what a model, adapter, state or file of tensors is",
                                 "mneme inspect [--json] PATH", "mneme inspect models/stories", run_inspect};

}  // namespace mneme
