#include <cstdint>

#include "base/gguf_metadata.h"
#include "text/fuzz_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  try {
    const auto metadata = GgufMetadata::parse({reinterpret_cast<const char*>(data), size}, "input");
    try_tokenizer([&] { return parse_gguf_tokenizer(metadata, "input"); });
  } catch (const Error&) {
  }
  return 0;
}
