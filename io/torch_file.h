// Files of torch.save: zip archives (PyTorch 1.6 and later) and the older stream of pickles. Nothing in them
// is executed (io/pickle.h). Every tensor found in the saved object gets its path as a name: a state dict's
// own keys, and "model.wte.weight" or "optimizer.state.0.exp_avg" in nested ones. Values other than tensors
// are passed over.
//
// Tensors alias the mapped file with the strides they were saved with; those that shared a storage still do,
// unless the storage lies unaligned (old format) or is compressed.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/blob.h"
#include "io/zip.h"

namespace mneme {

class TorchFile {
 public:
  struct Info {
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape, strides;
    std::string section;  // path of the dict or list that holds it; "" at the root
    std::string storage;  // its key
    int64_t offset = 0;   // in the storage, in elements
    int64_t extent = 0;   // elements from the first to the last
  };

  static bool looks_like(const Blob& blob);
  static TorchFile open(const std::string& path);
  static TorchFile parse(Blob blob, std::string where);

  const std::vector<std::string>& names() const { return names_; }  // in the order of the saved object
  bool contains(const std::string& name) const { return infos_.count(name) != 0; }
  const Info& info(const std::string& name) const;  // throws Error{input}
  Tensor tensor(const std::string& name) const;
  const std::string& where() const { return where_; }

 private:
  struct Storages;  // where the bytes are
  std::shared_ptr<Storages> storages_;
  std::string where_;
  std::map<std::string, Info> infos_;
  std::vector<std::string> names_;
};

}  // namespace mneme
