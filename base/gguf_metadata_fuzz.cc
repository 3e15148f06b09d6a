#include <cstdint>

#include "base/error.h"
#include "base/gguf_metadata.h"

namespace {

template <class Read>
void attempt(Read read) {
  try {
    read();
  } catch (const mneme::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  attempt([&] {
    const auto m = GgufMetadata::parse({reinterpret_cast<const char*>(data), size}, "input");
    for (const std::string& key : m.keys()) {
      attempt([&] { m.text(key); });
      attempt([&] { m.integer(key); });
      attempt([&] { m.real(key); });
      attempt([&] { m.boolean(key); });
      attempt([&] { m.texts(key); });
      attempt([&] { m.integers(key); });
      attempt([&] { m.reals(key); });
    }
  });
  return 0;
}
