// Lines of a text file, plain, gzip or zstd (by their first bytes, not by name), of any size. One line is
// bounded: a file that is one endless line is no record file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mneme {

// Bytes of a file, decompressed on the way.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual size_t read(char* out, size_t size) = 0;  // 0 at the end
  static std::unique_ptr<ByteStream> open(const std::string& path);
};

class LineReader {
 public:
  explicit LineReader(const std::string& path, size_t most = size_t{256} << 20);
  bool next(std::string& line);               // without its end; false after the last
  int64_t number() const { return number_; }  // of the line that next() gave, from 1

 private:
  std::string path_;
  size_t most_;
  std::unique_ptr<ByteStream> source_;
  std::vector<char> buffer_;
  size_t at_ = 0, filled_ = 0;
  int64_t number_ = 0;
};

// The whole file, decompressed. More than `most` bytes is an Error{input}.
std::string read_whole(const std::string& path, size_t most);

}  // namespace mneme
