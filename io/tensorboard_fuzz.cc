#include <cstring>

#include "base/error.h"
#include "io/tensorboard.h"

// The input is both a whole file and, with right checksums around it, one event: no mutation would guess
// those.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::string length(8, '\0'), head(4, '\0'), tail(4, '\0');
  const uint64_t count = size;
  std::memcpy(length.data(), &count, 8);
  const uint32_t of_length = masked_crc32c(length), of_bytes = masked_crc32c(bytes);
  std::memcpy(head.data(), &of_length, 4);
  std::memcpy(tail.data(), &of_bytes, 4);
  for (const std::string& file : {bytes, length + head + bytes + tail}) {
    try {
      parse_events(file, "input");
    } catch (const Error&) {
    }
  }
  return 0;
}
