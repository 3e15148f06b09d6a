// A file that appears whole or not at all: bytes stream into a temporary name beside the target, `commit`
// flushes them to the disk and renames. Without `commit` nothing remains.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

class OutputFile {
 public:
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  void write(const Tensor& t);  // its elements in row-major order; one CPU copy at most is held
  void zeros(size_t count);
  uint64_t position() const { return position_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  void put(const uint8_t* data, size_t size);
  void flush();

  std::string path_, temporary_;
  std::vector<uint8_t> buffer_;
  int fd_ = -1;
  uint64_t position_ = 0;
};

}  // namespace mneme
