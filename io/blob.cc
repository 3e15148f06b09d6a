#include "io/blob.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

[[noreturn]] void refuse_blob(const std::string& path, const std::string& why, const std::string& hint = {}) {
  throw Error(Kind::input, "cannot read " + path + ": " + why, hint);
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

Blob map_file(const std::string& path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) refuse_blob(path, std::strerror(errno), errno == ENOENT ? "check the path" : "");
  struct stat about {};
  if (fstat(file.fd, &about) != 0) refuse_blob(path, std::strerror(errno));
  if (!S_ISREG(about.st_mode)) refuse_blob(path, "it is not a regular file");
  const auto size = static_cast<size_t>(about.st_size);
  if (size == 0) refuse_blob(path, "it is empty", "download or write it again");
  // Private and writable: an update in place (training, merging an adapter) copies the page instead of
  // crashing.
  void* start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd, 0);
  if (start == MAP_FAILED) {
    throw Error(Kind::resource,
                "cannot map " + path + " (" + std::to_string(size) + " bytes): " + std::strerror(errno));
  }
  return Blob{std::shared_ptr<void>(start, [size](void* p) { munmap(p, size); }),
              static_cast<uint8_t*>(start), size};
}

Blob new_blob(uint64_t size) {
  constexpr uint64_t kAlign = 64;
  void* start = size > (UINT64_MAX >> 8) ? nullptr : std::aligned_alloc(kAlign, (size / kAlign + 1) * kAlign);
  if (start == nullptr) throw Error(Kind::resource, "no memory for " + std::to_string(size) + " bytes");
  return Blob{std::shared_ptr<void>(start, [](void* p) { std::free(p); }), static_cast<uint8_t*>(start),
              size};
}

Blob copy_to_blob(std::string_view bytes) {
  Blob blob = new_blob(bytes.size());
  if (!bytes.empty()) std::memcpy(blob.data, bytes.data(), bytes.size());
  return blob;
}

int64_t checked_numel(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  bool empty = false;
  for (const int64_t n : shape) {
    if (n < 0) return -1;
    empty = empty || n == 0;
    if (n != 0 && __builtin_mul_overflow(count, n, &count)) return -1;
  }
  return empty ? 0 : count;
}

Tensor tensor_in(const Blob& blob, uint64_t offset, const std::vector<int64_t>& shape, at::ScalarType dtype) {
  const int64_t count = checked_numel(shape);
  const auto width = static_cast<uint64_t>(c10::elementSize(dtype));
  MNEME_CHECK(count >= 0 && offset <= blob.size &&
              static_cast<uint64_t>(count) <= (blob.size - offset) / width);
  if (count == 0) return at::empty(shape, dtype);
  uint8_t* start = blob.data + offset;
  if (reinterpret_cast<uintptr_t>(start) % width != 0) {
    Tensor copy = at::empty(shape, dtype);
    std::memcpy(copy.data_ptr(), start, static_cast<size_t>(count) * width);
    return copy;
  }
  return at::from_blob(
      start, shape, [owner = blob.owner](void*) {}, at::TensorOptions().dtype(dtype));
}

void write_tensor(AtomicFile& out, const Tensor& t) {
  const Tensor plain = t.detach().to(at::kCPU).contiguous();
  out.write(plain.data_ptr(), static_cast<size_t>(plain.numel()) * plain.element_size());
}

}  // namespace mneme
