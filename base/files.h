// Files: whole files in, mapped views, atomic files out. Every failure is an Error{input} or Error{resource}
// with the path and the system's words. Not a format: those live in io/ and data/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

// The bytes of a regular file. More than `limit` bytes is an Error{input}.
std::string read_file(const std::string& path, uint64_t limit = uint64_t{1} << 30);

// A read-only view of a file's bytes. Move-only; the bytes stay valid until it dies, also when the file is
// replaced atomically meanwhile. A file that someone truncates in place under the map raises SIGBUS: such is
// the system.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }
  enum class Advice { normal, sequential, random, will_need, dont_need };
  void advise(Advice advice) const;  // a hint to the page cache

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

// A file that appears whole or not at all: bytes go to a temporary name in the same folder; commit() syncs
// it, renames it and syncs the folder. Without commit() the temporary file is removed and the old file stays.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();
  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  uint64_t position() const { return written_ + buffer_.size(); }
  void commit();

 private:
  void flush();
  void write_through(const char* bytes, size_t count);
  std::string path_, temporary_, buffer_;
  uint64_t written_ = 0;
  int fd_ = -1;
};

void write_file(const std::string& path, std::string_view bytes);  // atomically

bool file_exists(const std::string& path);
bool is_folder(const std::string& path);
uint64_t file_size(const std::string& path);
void make_folders(const std::string& path);  // like mkdir -p
void remove_file(const std::string& path);   // nothing happens when it is not there
// Names (not paths) in a folder, sorted. With a suffix only those that end with it.
std::vector<std::string> list_folder(const std::string& path, std::string_view suffix = {});
std::string join_path(std::string_view folder, std::string_view name);

}  // namespace mneme
