// Read-only view of a zip archive in a Blob: what PyTorch's files are. Stored members are aliases of the
// blob, deflated ones are inflated when asked for. Zip64 is read; encryption, splitting over disks and other
// compressions are refused. Checksums are compared for inflated members only: over stored ones it would read
// the whole file, and PyTorch may leave them unset.
#pragma once

#include <map>
#include <string>

#include "io/blob.h"

namespace mneme {

class ZipArchive {
 public:
  struct Member {
    uint64_t packed = 0, bytes = 0,
             header = 0;  // sizes in the file and of the content, offset of the local header
    uint32_t crc = 0;
    bool deflated = false;
  };

  static bool looks_like(const Blob& blob);  // starts with a local file header
  // Throws Error{input} naming `where`.
  static ZipArchive parse(Blob blob, std::string where);

  const std::map<std::string, Member>& members() const { return members_; }
  bool contains(const std::string& name) const { return members_.count(name) != 0; }
  Blob read(const std::string& name) const;

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  void read_directory(uint64_t offset, uint64_t size, uint64_t count);
  uint64_t read_entry(uint64_t at, uint64_t end);

  Blob blob_;
  std::string where_;
  std::map<std::string, Member> members_;
};

}  // namespace mneme
