#include "data/line_reader.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

size_t read_some(std::FILE* file, void* out, size_t size, const std::string& path) {
  size_t got = std::fread(out, 1, size, file);
  if (got < size && std::ferror(file)) throw Error(Kind::input, path + ": " + std::strerror(errno));
  return got;
}

class Plain : public ByteStream {
 public:
  Plain(File file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  size_t read(char* out, size_t size) override { return read_some(file_.get(), out, size, path_); }

 private:
  File file_;
  std::string path_;
};

constexpr size_t kInput = size_t{1} << 16;

class Gzip : public ByteStream {
 public:
  Gzip(File file, std::string path) : file_(std::move(file)), path_(std::move(path)), input_(kInput) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw Error(Kind::resource, path_ + ": no memory for zlib");
  }
  ~Gzip() override { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  size_t read(char* out, size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(std::min(size, size_t{1} << 30));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) {
        stream_.next_in = input_.data();
        stream_.avail_in = static_cast<uInt>(read_some(file_.get(), input_.data(), input_.size(), path_));
        if (stream_.avail_in == 0 && between_) return 0;
        if (stream_.avail_in == 0) throw Error(Kind::input, path_ + ": the gzip stream ends in the middle");
      }
      if (between_) inflateReset(&stream_);  // another member: gzip files may be concatenated
      between_ = false;
      const int code = inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        between_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        throw Error(Kind::input, path_ + ": damaged gzip data: " + (stream_.msg ? stream_.msg : "unknown"));
      }
    }
    return wanted - stream_.avail_out;
  }

 private:
  File file_;
  std::string path_;
  std::vector<Bytef> input_;
  z_stream stream_ = {};
  bool between_ = false;
};

class Zstd : public ByteStream {
 public:
  Zstd(File file, std::string path)
      : file_(std::move(file)),
        path_(std::move(path)),
        input_(kInput),
        stream_(ZSTD_createDStream(), ZSTD_freeDStream) {
    if (!stream_) throw Error(Kind::resource, path_ + ": no memory for zstd");
  }
  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer target = {out, size, 0};
    while (target.pos == 0) {
      if (source_.pos == source_.size) {
        source_ = {input_.data(), read_some(file_.get(), input_.data(), input_.size(), path_), 0};
        if (source_.size == 0 && left_ == 0) return 0;
        if (source_.size == 0) throw Error(Kind::input, path_ + ": the zstd stream ends in the middle");
      }
      left_ = ZSTD_decompressStream(stream_.get(), &target, &source_);
      if (ZSTD_isError(left_)) {
        throw Error(Kind::input, path_ + ": damaged zstd data: " + ZSTD_getErrorName(left_));
      }
    }
    return target.pos;
  }

 private:
  File file_;
  std::string path_;
  std::vector<char> input_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  ZSTD_inBuffer source_ = {nullptr, 0, 0};
  size_t left_ = 0;
};

}  // namespace

std::unique_ptr<ByteStream> ByteStream::open(const std::string& path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) throw Error(Kind::input, path + ": " + std::strerror(errno));
  unsigned char head[4] = {};
  const size_t got = read_some(file.get(), head, sizeof head, path);
  std::rewind(file.get());
  if (got >= 2 && head[0] == 0x1F && head[1] == 0x8B) return std::make_unique<Gzip>(std::move(file), path);
  if (got == 4 && head[0] == 0x28 && head[1] == 0xB5 && head[2] == 0x2F && head[3] == 0xFD) {
    return std::make_unique<Zstd>(std::move(file), path);
  }
  return std::make_unique<Plain>(std::move(file), path);
}

LineReader::LineReader(const std::string& path, size_t most)
    : path_(path), most_(most), source_(ByteStream::open(path)), buffer_(size_t{1} << 18) {}

bool LineReader::next(std::string& line) {
  line.clear();
  bool any = false;
  for (;;) {
    if (at_ == filled_) {
      filled_ = source_->read(buffer_.data(), buffer_.size());
      at_ = 0;
      if (filled_ == 0) break;
    }
    any = true;
    const char* begin = buffer_.data() + at_;
    const auto* end = static_cast<const char*>(std::memchr(begin, '\n', filled_ - at_));
    const size_t size = end ? static_cast<size_t>(end - begin) : filled_ - at_;
    if (line.size() + size > most_) {
      throw Error(Kind::input, path_ + ":" + std::to_string(number_ + 1) + ": a line of more than " +
                                   std::to_string(most_) + " bytes");
    }
    line.append(begin, size);
    at_ += size + (end ? 1 : 0);
    if (end) break;
  }
  if (!any) return false;
  ++number_;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

std::string read_whole(const std::string& path, size_t most) {
  const auto source = ByteStream::open(path);
  std::string text;
  std::vector<char> buffer(size_t{1} << 18);
  while (size_t got = source->read(buffer.data(), buffer.size())) {
    if (text.size() + got > most)
      throw Error(Kind::input, path + ": more than " + std::to_string(most) + " bytes");
    text.append(buffer.data(), got);
  }
  return text;
}

}  // namespace mneme
