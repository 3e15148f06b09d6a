// What the tests of this folder share: a temporary folder, files of ../shared, byte equality. Not part of the
// library.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "mneme_io_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& f : std::filesystem::directory_iterator(path_)) out.push_back(f.path().filename());
    return out;
  }

 private:
  std::filesystem::path path_;
};

// The file under ../shared (or $MNEME_SHARED), or "" where it is absent.
inline std::string shared_path(const std::string& relative) {
  const char* root = std::getenv("MNEME_SHARED");
  const std::string path = std::string(root ? root : "../shared") + "/" + relative;
  return std::filesystem::exists(path) ? path : "";
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  const Tensor x = a.contiguous(), y = b.contiguous();
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (x.nbytes() == 0 || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0);
}

}  // namespace mneme
