// GGUF files: reading tensors, and writing files of any metadata and tensors. Metadata are
// base/gguf_metadata.h; what llama.cpp calls the tensors of a model is io/gguf_names.h.
//
// F32, F16 and BF16 tensors alias the mapped file. Q8_0 and Q4_0 are dequantised when asked for, to the dtype
// wanted. Other block formats are refused by name.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/gguf_metadata.h"
#include "io/blob.h"
#include "io/gguf_blocks.h"
#include "io/lazy_tensor.h"

namespace mneme {

class GgufFile {
 public:
  struct Info {
    GgmlType type = GgmlType::f32;
    std::vector<int64_t>
        shape;            // row-major, as libtorch has it (the file lists dimensions the other way round)
    uint64_t offset = 0;  // in the file
    uint64_t bytes = 0;
  };

  static bool looks_like(const Blob& blob);
  static GgufFile open(const std::string& path);
  static GgufFile parse(Blob blob, std::string where);

  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return infos_.count(name) != 0; }
  const Info& info(const std::string& name) const;
  // Plain tensors keep their own dtype.
  Tensor tensor(const std::string& name, at::ScalarType quantised_as = at::kFloat) const;
  const std::string& where() const { return where_; }

 private:
  Blob blob_;
  std::string where_;
  GgufMetadata metadata_;  // views of blob_
  std::map<std::string, Info> infos_;
  std::vector<std::string> names_;
};

// A value as it lies in a file (base/gguf_metadata.h), of any type: what is copied, or made of bytes.
struct GgufRaw {
  GgufType type = GgufType::u8, element = GgufType::u8;
  uint64_t count = 1;
  std::string bytes;
};

using GgufSetting = std::variant<bool, uint32_t, int32_t, uint64_t, float, std::string, std::vector<int32_t>,
                                 std::vector<float>, std::vector<std::string>, GgufRaw>;
using GgufSettings = std::vector<std::pair<std::string, GgufSetting>>;

struct GgufTensor {
  LazyTensor source;
  GgmlType type;  // Q4_0 is read only
};

// Streams one tensor at a time; the file appears whole or not at all.
void write_gguf(const std::string& path, const GgufSettings& settings,
                const std::vector<GgufTensor>& tensors);

}  // namespace mneme
