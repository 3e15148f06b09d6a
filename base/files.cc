#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace mneme {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& doing, const std::string& path, int code) {
  const bool resource = code == ENOSPC || code == EDQUOT || code == ENOMEM || code == EMFILE || code == EIO;
  std::string hint;
  if (code == ENOSPC || code == EDQUOT) hint = "free some disk space";
  if (code == EACCES || code == EPERM || code == EROFS) hint = "check who may read or write there";
  throw Error(resource ? Kind::resource : Kind::input,
              "cannot " + doing + " '" + path + "': " + std::strerror(code), hint);
}

// Closes at the end of the scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

int open_regular(const std::string& path, struct stat& info) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block here
  if (fd < 0) fail("open", path, errno);
  if (::fstat(fd, &info) != 0) {
    const int code = errno;
    ::close(fd);
    fail("stat", path, code);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error(Kind::input, "expected a file at '" + path + "', found " +
                                 (S_ISDIR(info.st_mode) ? "a folder" : "something else"));
  }
  return fd;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string read_file(const std::string& path, uint64_t limit) {
  struct stat info {};
  const Descriptor file{open_regular(path, info)};
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > limit) {
    throw Error(Kind::input, "'" + path + "' has " + std::to_string(size) + " bytes, at most " +
                                 std::to_string(limit) + " are read here");
  }
  // Files under /proc report size 0 and others may grow: read until the end, within the limit.
  std::string out;
  out.resize(size + 1);
  size_t got = 0;
  while (true) {
    if (got == out.size()) out.resize(std::max<size_t>(2 * out.size(), 4096));
    const ssize_t n = ::read(file.fd, out.data() + got, out.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read", path, errno);
    if (n == 0) break;
    got += static_cast<size_t>(n);
    if (got > limit)
      throw Error(Kind::input, "'" + path + "' grew past " + std::to_string(limit) + " bytes while read");
  }
  out.resize(got);
  return out;
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  struct stat info {};
  const Descriptor file{open_regular(path, info)};
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;
  void* at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (at == MAP_FAILED) fail("map", path, errno);
  data_ = static_cast<const std::byte*>(at);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::exchange(other.path_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::advise(Advice advice) const {
  constexpr int kAdvice[] = {MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM, MADV_WILLNEED, MADV_DONTNEED};
  if (data_) ::madvise(const_cast<std::byte*>(data_), size_, kAdvice[static_cast<int>(advice)]);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  static std::atomic<uint64_t> counter{0};
  temporary_ = path_ + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("create", temporary_, errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t count) {
  MNEME_CHECK(fd_ >= 0, "write after commit to " + path_);
  constexpr size_t kBuffer = 1 << 18;
  if (buffer_.size() + count > kBuffer) flush();
  if (count > kBuffer) {
    write_through(static_cast<const char*>(bytes), count);
  } else {
    buffer_.append(static_cast<const char*>(bytes), count);
  }
}

void AtomicFile::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write_through(const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t n = ::write(fd_, bytes, std::min<size_t>(count, 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write", temporary_, errno);
    bytes += n;
    count -= static_cast<size_t>(n);
    written_ += static_cast<uint64_t>(n);
  }
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) fail("sync", temporary_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename to", path_, errno);
  ::close(std::exchange(fd_, -1));
  const Descriptor folder{::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  // Some file systems cannot sync a folder and say EINVAL; the rename itself is done.
  if (folder.fd >= 0 && ::fsync(folder.fd) != 0 && errno != EINVAL) fail("sync the folder of", path_, errno);
}

void write_file(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

bool file_exists(const std::string& path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

bool is_folder(const std::string& path) {
  std::error_code code;
  return fs::is_directory(path, code);
}

uint64_t file_size(const std::string& path) {
  std::error_code code;
  const uint64_t size = fs::file_size(path, code);
  if (code) fail("measure", path, code.value());
  return size;
}

void make_folders(const std::string& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) fail("make the folder", path, code.value());
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("remove", path, errno);
}

std::vector<std::string> list_folder(const std::string& path, std::string_view suffix) {
  std::error_code code;
  fs::directory_iterator it(path, code);
  if (code) fail("list", path, code.value());
  std::vector<std::string> names;
  for (const fs::directory_iterator end; it != end; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (std::string_view(name).ends_with(suffix)) names.push_back(std::move(name));
  }
  if (code) fail("list", path, code.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty() || name.starts_with('/')) return std::string(name);
  return std::string(folder) + (folder.ends_with('/') ? "" : "/") + std::string(name);
}

}  // namespace mneme
