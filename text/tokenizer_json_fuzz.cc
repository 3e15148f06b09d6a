#include <cstdint>

#include "text/fuzz_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mneme::try_tokenizer([&] {
    return mneme::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "input");
  });
  return 0;
}
