// safetensors files: u64 length of the header, a JSON header {name: {dtype, shape, data_offsets},
// "__metadata__": ...}, then the tensors' bytes, little endian, row-major, tiling the rest of the file
// without holes or overlaps.
//
// Reading maps the file: a tensor is an alias of the mapping (copied out only where its address does not suit
// its dtype) and keeps it alive. `open` checks every name, shape and offset before any is used. Writing
// streams, one tensor in memory at a time, and the file appears whole or not at all. Sharded models are
// io/weights.h.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/blob.h"
#include "io/lazy_tensor.h"

namespace mneme {

using Metadata = std::map<std::string, std::string>;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

class SafetensorsFile {
 public:
  struct Info {
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape;
    uint64_t offset = 0;  // in the file
    uint64_t bytes = 0;
  };

  static SafetensorsFile open(const std::string& path);
  // `where` stands for the path in messages.
  static SafetensorsFile parse(Blob blob, std::string where);

  const std::vector<std::string>& names() const { return names_; }  // in the order of their bytes
  bool contains(const std::string& name) const { return infos_.count(name) != 0; }
  const Info& info(const std::string& name) const;  // throws Error{input} for a name that is not there
  Tensor tensor(const std::string& name) const;
  const Metadata& metadata() const { return metadata_; }
  const std::string& where() const { return where_; }

 private:
  Blob blob_;
  std::string where_;
  std::map<std::string, Info> infos_;
  std::vector<std::string> names_;
  Metadata metadata_;
};

// Bytes lie in the order given, wider dtypes first, so that every tensor is aligned to its dtype.
void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata = {});
void write_safetensors(const std::string& path, const std::vector<LazyTensor>& tensors,
                       const Metadata& metadata = {});

// "F32", "BF16", ...
std::string safetensors_dtype(at::ScalarType dtype);

}  // namespace mneme
