#include "base/error.h"
#include "io/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  try {
    const auto file = TorchFile::parse(copy_to_blob({reinterpret_cast<const char*>(data), size}), "input");
    for (const std::string& name : file.names()) {
      const Tensor t = file.tensor(name);
      if (t.numel() < 100000) t.clone(at::MemoryFormat::Contiguous);  // touches every byte
    }
  } catch (const Error&) {
  }
  return 0;
}
