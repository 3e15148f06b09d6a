// Memory for packed matrices: aligned to cache lines, and on huge pages where it is large. With small pages
// the products lose up to a quarter to page walks and to cache sets that collide by chance. Internal to
// ops/gemm*.cc and ops/sgemm*.cc.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/error.h"

namespace mneme::gemm {

template <class T>
std::shared_ptr<T> allocate(int64_t count) {
  constexpr size_t kHuge = size_t{2} << 20;
  const size_t bytes = std::max<size_t>(64, count * sizeof(T)), align = bytes >= kHuge ? kHuge : 64;
  void* memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  if (!memory) throw Error(Kind::resource, "no memory for a matrix of " + std::to_string(bytes) + " bytes");
  if (align == kHuge)
    madvise(memory, bytes / kHuge * kHuge, MADV_HUGEPAGE);  // a wish: its failure changes nothing
  return {static_cast<T*>(memory), [](T* p) { std::free(p); }};
}

// Memory of a thread that grows and stays, in multiples of a huge page.
class Scratch {
 public:
  template <class T>
  T* get(int64_t count) {
    constexpr int64_t kHuge = int64_t{2} << 20;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    if (bytes > size_ || !memory_) {
      memory_.reset();
      size_ = (bytes + kHuge - 1) / kHuge * kHuge;
      memory_ = allocate<char>(size_);
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  std::shared_ptr<char> memory_;
  int64_t size_ = 0;
};

}  // namespace mneme::gemm
