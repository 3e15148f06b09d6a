// Bytes of a file and tensors that alias them. A Blob is a private mapping (or a copy in memory, for tests
// and fuzzers) that lives as long as anything made from it. Writing to an aliasing tensor changes this
// process's pages only, never the file. It is not a parser: offsets are checked by whoever reads them, and
// once more here.
//
// A file that another program shortens while it is mapped ends the process with SIGBUS; replace model files
// by rename.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "tensor/tensor.h"

namespace mneme {

struct Blob {
  std::shared_ptr<void> owner;
  uint8_t* data = nullptr;
  uint64_t size = 0;
};

Blob map_file(const std::string& path);
Blob new_blob(uint64_t size);  // aligned to 64, not initialised; throws Error{resource}
Blob copy_to_blob(std::string_view bytes);

// Number of elements, or -1 when a dimension is negative or the product of the others than 0 does not fit an
// int64.
int64_t checked_numel(const std::vector<int64_t>& shape);

// Its elements in row-major order; at most one copy of it is held.
void write_tensor(AtomicFile& out, const Tensor& t);

// The tensor at `offset`: an alias where the address suits the dtype, else a copy. Bytes outside of the blob:
// MNEME_CHECK.
Tensor tensor_in(const Blob& blob, uint64_t offset, const std::vector<int64_t>& shape, at::ScalarType dtype);

}  // namespace mneme
