#include "io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint64_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr uint16_t kZip64Field = 1;
constexpr uint64_t kDeflateLimit = 1032;  // bytes out for a byte in, at the very most

template <class T>
T get(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
uint16_t get16(const uint8_t* p) { return get<uint16_t>(p); }
uint32_t get32(const uint8_t* p) { return get<uint32_t>(p); }
uint64_t get64(const uint8_t* p) { return get<uint64_t>(p); }

// Sizes and offsets of 0xffffffff are continued in the zip64 field, in this order, only those that need it.
bool read_zip64(const uint8_t* extra, uint64_t size, ZipArchive::Member& m) {
  uint64_t at = 0;
  while (size - at >= 4) {
    const uint16_t tag = get16(extra + at), length = get16(extra + at + 2);
    at += 4;
    if (length > size - at) return false;
    if (tag == kZip64Field) {
      uint64_t used = 0;
      for (uint64_t* field : {&m.bytes, &m.packed, &m.header}) {
        if (*field != 0xffffffff) continue;
        if (length - used < 8) return false;
        *field = get64(extra + at + used);
        used += 8;
      }
      return true;
    }
    at += length;
  }
  return m.bytes != 0xffffffff && m.packed != 0xffffffff && m.header != 0xffffffff;
}

}  // namespace

void ZipArchive::refuse(const std::string& why) const {
  throw Error(Kind::input, where_ + " is not a valid zip archive: " + why, "download or write it again");
}

bool ZipArchive::looks_like(const Blob& blob) { return blob.size >= 4 && get32(blob.data) == kLocal; }

ZipArchive ZipArchive::parse(Blob blob, std::string where) {
  ZipArchive zip;
  zip.blob_ = std::move(blob);
  zip.where_ = std::move(where);
  const uint64_t size = zip.blob_.size;
  const uint8_t* data = zip.blob_.data;
  // The end record is followed by a comment of at most 64 KB.
  if (size < kEndSize) zip.refuse("it has only " + std::to_string(size) + " bytes");
  uint64_t end = size - kEndSize;
  const uint64_t lowest = end > 0xffff ? end - 0xffff : 0;
  while (get32(data + end) != kEnd || get16(data + end + 20) != size - end - kEndSize) {
    if (end == lowest) zip.refuse("no central directory; the file is cut short");
    --end;
  }
  uint64_t count = get16(data + end + 10), bytes = get32(data + end + 12), offset = get32(data + end + 16);
  if (get16(data + end + 4) != get16(data + end + 6)) zip.refuse("it is one part of several");
  if (end >= kLocator64Size && get32(data + end - kLocator64Size) == kLocator64) {
    const uint64_t at = get64(data + end - kLocator64Size + 8);
    if (at > size || size - at < kEnd64Size || get32(data + at) != kEnd64) zip.refuse("a bad zip64 record");
    count = get64(data + at + 32);
    bytes = get64(data + at + 40);
    offset = get64(data + at + 48);
  }
  zip.read_directory(offset, bytes, count);
  return zip;
}

void ZipArchive::read_directory(uint64_t offset, uint64_t size, uint64_t count) {
  if (offset > blob_.size || size > blob_.size - offset || count > size / kCentralSize) {
    refuse("its directory lies outside of the file");
  }
  uint64_t at = offset;
  for (uint64_t i = 0; i < count; ++i) at = read_entry(at, offset + size);
}

uint64_t ZipArchive::read_entry(uint64_t at, uint64_t end) {
  const uint8_t* p = blob_.data + at;
  if (end - at < kCentralSize || get32(p) != kCentral) refuse("a bad directory entry");
  const uint64_t name = get16(p + 28), extra = get16(p + 30), comment = get16(p + 32);
  if (name + extra + comment > end - at - kCentralSize) refuse("a directory entry is cut short");
  const std::string key(reinterpret_cast<const char*>(p) + kCentralSize, name);
  const uint16_t flags = get16(p + 8), method = get16(p + 10);
  if ((flags & 1) != 0) refuse("'" + key + "' is encrypted");
  if (method != 0 && method != 8) refuse("'" + key + "' is compressed by method " + std::to_string(method));
  Member m;
  m.crc = get32(p + 16);
  m.packed = get32(p + 20);
  m.bytes = get32(p + 24);
  m.header = get32(p + 42);
  m.deflated = method == 8;
  if (!read_zip64(p + kCentralSize + name, extra, m)) refuse("'" + key + "' has a bad zip64 field");
  const bool sizes_fit = m.deflated ? m.bytes / kDeflateLimit <= m.packed : m.bytes == m.packed;
  if (!sizes_fit || m.header > blob_.size || m.packed > blob_.size - m.header) {
    refuse("'" + key + "' has impossible sizes");
  }
  if (!members_.emplace(key, m).second) refuse("'" + key + "' occurs twice");
  return at + kCentralSize + name + extra + comment;
}

Blob ZipArchive::read(const std::string& name) const {
  const auto found = members_.find(name);
  if (found == members_.end()) refuse("no member '" + name + "'");
  const Member& m = found->second;
  const uint8_t* local = blob_.data + m.header;
  const uint64_t rest = blob_.size - m.header;
  if (rest < kLocalSize || get32(local) != kLocal) refuse("'" + name + "' has no header");
  const uint64_t start = kLocalSize + get16(local + 26) + get16(local + 28);
  if (start > rest || m.packed > rest - start) refuse("'" + name + "' is cut short");
  if (!m.deflated) return Blob{blob_.owner, blob_.data + m.header + start, m.bytes};

  Blob out = new_blob(m.bytes);
  z_stream stream{};
  MNEME_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK);
  uint64_t in = 0, made = 0;
  int status = Z_OK;
  while (status == Z_OK) {  // zlib counts in 32 bits
    const uint64_t give = std::min<uint64_t>(m.packed - in, 1U << 30),
                   room = std::min<uint64_t>(m.bytes - made, 1U << 30);
    stream.next_in = const_cast<uint8_t*>(local) + start + in;
    stream.avail_in = static_cast<uInt>(give);
    stream.next_out = out.data + made;
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);
    in += give - stream.avail_in;
    made += room - stream.avail_out;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || made != m.bytes) refuse("'" + name + "' does not inflate to its size");
  uLong crc = 0;
  for (uint64_t i = 0; i < made; i += 1U << 30) {
    crc = crc32(crc, out.data + i, static_cast<uInt>(std::min<uint64_t>(made - i, 1U << 30)));
  }
  if (crc != m.crc) refuse("'" + name + "' has a wrong checksum");
  return out;
}

}  // namespace mneme
