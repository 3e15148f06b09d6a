#include "memory/page_file.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace mneme {
namespace {

constexpr int64_t kAlign = 4096, kChunk = int64_t{64} << 20, kTrimEvery = int64_t{8} << 20;

[[noreturn]] void refuse(const std::string& where, const char* what, int error) {
  throw Error(Kind::resource,
              where + ": cannot " + what + " a file for pages of memory: " + std::strerror(error),
              "free some space there, or name another folder (--memory.landmark.spill)");
}

}  // namespace

std::shared_ptr<PageFile> PageFile::create(const std::string& folder, int64_t page_bytes) {
  MNEME_CHECK(page_bytes > 0);
  std::error_code none;
  const std::string where = folder.empty() ? std::filesystem::temp_directory_path(none).string() : folder;
  std::string name = where + "/mneme-pages-XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) refuse(where, "make", errno);
  ::unlink(name.c_str());
  return std::shared_ptr<PageFile>(new PageFile(fd, page_bytes, where));
}

PageFile::PageFile(int fd, int64_t page_bytes, std::string where)
    : fd_(fd),
      page_bytes_(page_bytes),
      slot_bytes_((page_bytes + kAlign - 1) / kAlign * kAlign),
      chunk_bytes_(std::max<int64_t>(1, kChunk / slot_bytes_) * slot_bytes_),
      where_(std::move(where)) {}

PageFile::~PageFile() {
  for (char* chunk : chunks_) ::munmap(chunk, static_cast<size_t>(chunk_bytes_));
  ::close(fd_);
}

// Space is claimed before it is mapped: a write into a hole of a full disk would end the process.
void PageFile::grow() {
  const auto at = static_cast<off_t>(static_cast<int64_t>(chunks_.size()) * chunk_bytes_);
  if (const int error = ::posix_fallocate(fd_, at, chunk_bytes_)) refuse(where_, "enlarge", error);
  void* chunk =
      ::mmap(nullptr, static_cast<size_t>(chunk_bytes_), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, at);
  if (chunk == MAP_FAILED) refuse(where_, "map", errno);
  chunks_.push_back(static_cast<char*>(chunk));
  for (int64_t s = chunk_bytes_ - slot_bytes_; s >= 0; s -= slot_bytes_)
    free_.push_back(static_cast<char*>(chunk) + s);
}

Tensor PageFile::take(at::IntArrayRef sizes, const at::TensorOptions& type) {
  const int64_t bytes = c10::multiply_integers(sizes) * static_cast<int64_t>(type.dtype().itemsize());
  MNEME_CHECK(type.device().is_cpu() && bytes <= page_bytes_);
  char* slot = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) grow();
    slot = free_.back();
    free_.pop_back();
    taken_ += slot_bytes_;
  }
  return at::from_blob(
      slot, sizes, [file = shared_from_this()](void* p) { file->free(static_cast<char*>(p)); }, type);
}

Tensor PageFile::put(const Tensor& page) {
  const at::NoGradGuard no_grad;
  Tensor held = take(page.sizes(), page.options().requires_grad(false));
  held.copy_(page);
  return held;
}

void PageFile::free(char* slot) {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(slot);
}

bool PageFile::holds(const Tensor& t) const {
  const char* at = static_cast<const char*>(t.data_ptr());
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(chunks_.begin(), chunks_.end(),
                     [&](const char* chunk) { return at >= chunk && at < chunk + chunk_bytes_; });
}

void PageFile::forget(int64_t beyond) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto slots = static_cast<int64_t>(chunks_.size()) * (chunk_bytes_ / slot_bytes_);
  if ((slots - static_cast<int64_t>(free_.size())) * slot_bytes_ <= beyond) return;
  for (char* chunk : chunks_) ::madvise(chunk, static_cast<size_t>(chunk_bytes_), MADV_DONTNEED);
#ifdef __GLIBC__
  // The pages' handles are small and live long: among them the heap keeps holes that large tensors left and
  // no longer fit in. Their memory goes back, too, from time to time.
  if (taken_ < kTrimEvery) return;
  taken_ = 0;
  ::malloc_trim(0);
#endif
}

}  // namespace mneme
