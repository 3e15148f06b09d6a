#include "apps/versions.h"

#include <string>

#include "tensor/version.h"

namespace mneme {

const char* version() { return MNEME_VERSION; }

nlohmann::json versions() {
  return {{"mneme", version()},
          {"libtorch", torch_version()},
          {"onednn", onednn_version()},
          {"compiler", std::string(
#if defined(__clang__)
                           "clang "
#elif defined(__GNUC__)
                           "gcc "
#endif
                           __VERSION__)}};
}

}  // namespace mneme
