// Pages of keys and values that lie in a file instead of in memory: fixed-size slots of one unlinked
// temporary file, mapped. A page is a tensor as any other; its slot is free again when the last handle of it
// is gone. Only what is touched stays in the resident set, until forget(). Not a format: nothing survives the
// process, and state files hold the contents.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

class PageFile : public std::enable_shared_from_this<PageFile> {
 public:
  // In `folder`, or where temporary files go if it is empty. Throws Error{resource}.
  static std::shared_ptr<PageFile> create(const std::string& folder, int64_t page_bytes);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  int64_t page_bytes() const { return page_bytes_; }
  // A tensor in the file, to be filled; its bytes must be a page's at most.
  Tensor take(at::IntArrayRef sizes, const at::TensorOptions& type);
  // A copy in the file.
  Tensor put(const Tensor& page);
  bool holds(const Tensor& t) const;
  // Takes all pages out of the resident set, if there are more than so many bytes of them; they come back
  // from the file as they are read.
  void forget(int64_t beyond = 0) const;

 private:
  PageFile(int fd, int64_t page_bytes, std::string where);
  void grow();
  void free(char* slot);

  int fd_;
  int64_t page_bytes_, slot_bytes_, chunk_bytes_;
  std::string where_;
  mutable std::mutex mutex_;
  std::vector<char*> chunks_, free_;
  mutable int64_t taken_ = 0;  // bytes of pages since the heap was last trimmed
};

}  // namespace mneme
