#include "base/error.h"
#include "io/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  try {
    const auto file = GgufFile::parse(copy_to_blob({reinterpret_cast<const char*>(data), size}), "input");
    for (const std::string& name : file.names()) file.tensor(name, at::kHalf).clone();
    const GgufModel model(file);
    for (const std::string& name : model.names()) {
      if (model.tensor(name, at::kFloat).sizes() != at::IntArrayRef(model.shape(name))) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
