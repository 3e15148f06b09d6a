#include "tensor/version.h"

#include <ATen/Version.h>
#include <torch/version.h>

namespace mneme {

std::string torch_version() { return TORCH_VERSION; }

std::string onednn_version() {
  const std::string config = at::show_config();
  for (const char* name : {"MKL-DNN v", "oneDNN v", "DNNL v"}) {
    if (const size_t at = config.find(name); at != std::string::npos) {
      const size_t begin = config.find(" v", at) + 2;
      return config.substr(begin, config.find_first_of(" \n", begin) - begin);
    }
  }
  return "none";
}

}  // namespace mneme
