#include <cstdint>

#include "text/fuzz_tokenizer.h"
#include "text/split_scanner.h"
#include "text/tiktoken.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const mneme::TiktokenEncoding encoding = {mneme::kCl100kPattern, {{"<s>", 1000000}}, "<s>", "<s>"};
  mneme::try_tokenizer([&] {
    return mneme::parse_tiktoken({reinterpret_cast<const char*>(data), size}, encoding, "input");
  });
  return 0;
}
