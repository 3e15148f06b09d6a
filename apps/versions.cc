#include "apps/versions.h"

#include <string>

#include "tensor/version.h"

namespace mneme {

nlohmann::json versions() {
  return {{"mneme", MNEME_VERSION},
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
