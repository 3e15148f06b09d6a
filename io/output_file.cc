#include "io/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

constexpr size_t kBuffer = 1 << 20;

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".tmp.XXXXXX") {
  fd_ = mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) fail("create");
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd_, 0666 & ~mask);  // mkostemp gives 0600; a written model should be as readable as any other file
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

void OutputFile::fail(const char* what) const {
  const int code = errno;
  const bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
  throw Error(Kind::resource, std::string("cannot ") + what + " " + path_ + ": " + std::strerror(code),
              full ? "free space on that disk, or write elsewhere"
                   : "check that the folder exists and may be written to");
}

void OutputFile::put(const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t done = ::write(fd_, data, std::min<size_t>(size, 1 << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write");
    data += done;
    size -= static_cast<size_t>(done);
  }
}

void OutputFile::flush() {
  put(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void OutputFile::write(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  position_ += size;
  if (buffer_.size() + size > kBuffer) flush();
  if (size > kBuffer) {
    put(bytes, size);
  } else {
    buffer_.insert(buffer_.end(), bytes, bytes + size);
  }
}

void OutputFile::write(const Tensor& t) {
  const Tensor plain = t.detach().to(at::kCPU).contiguous();
  write(plain.data_ptr(), static_cast<size_t>(plain.numel()) * plain.element_size());
}

void OutputFile::zeros(size_t count) {
  static const uint8_t kZeros[4096] = {};
  while (count > 0) {
    const size_t some = std::min(count, sizeof kZeros);
    write(kZeros, some);
    count -= some;
  }
}

void OutputFile::commit() {
  flush();
  if (fsync(fd_) != 0) fail("flush");
  const int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    unlink(temporary_.c_str());
    errno = code;
    fail("finish");
  }
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int directory = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  fsync(directory);  // makes the rename itself survive a power cut; some file systems do not offer it
  close(directory);
}

}  // namespace mneme
