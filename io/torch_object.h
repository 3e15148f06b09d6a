// The meaning of a pickle that torch.save wrote: which values are tensors, how they view which storage, under
// which path they stand. It reads the graph of io/pickle.h and no tensor bytes.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/pickle.h"
#include "tensor/tensor.h"

namespace mneme {

struct TorchStorage {
  at::ScalarType dtype = at::kByte;
  int64_t count = 0;        // elements of that dtype
  int64_t view_offset = 0;  // of an old-style view into the storage with this key, in elements
};

struct TorchTensor {
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape, strides;
  std::string section;  // path of the dict or list that holds it; "" at the root
  std::string storage;
  int64_t offset = 0, extent = 0;  // in elements; offset includes the storage's view_offset
};

struct TorchObject {
  std::vector<std::pair<std::string, TorchTensor>> tensors;  // names are distinct
  std::map<std::string, TorchStorage> storages;              // by key; count is the largest claimed
};

// The globals that the pickles may name.
const std::vector<std::string_view>& torch_globals();

TorchObject read_torch_object(const Pickle& pickle, const std::string& where);

}  // namespace mneme
