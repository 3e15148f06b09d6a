// The reader of token shards under arbitrary bytes. The checksums are put right first: they are no obstacle
// to anyone.
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/shard.h"

namespace {

void put_right(std::string& bytes) {
  if (bytes.size() < 128) return;
  const auto word = [&](size_t at) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, 8);
    return value;
  };
  const auto seal = [&](size_t section, uint64_t size, size_t hash) {
    const uint64_t at = word(section);
    if (at > bytes.size() || size > bytes.size() - at) return;
    const uint64_t value = XXH64(bytes.data() + at, size, 0);
    std::memcpy(bytes.data() + hash, &value, 8);
  };
  const uint64_t tokens = word(16), documents = word(24), most = bytes.size();
  if (tokens > most || documents > most) return;
  const bool wide = (bytes[12] & 1) != 0;
  seal(56, (documents + 1) * 8, 88);
  seal(64, tokens * (wide ? 4 : 2), 96);
  seal(72, (tokens + 7) / 8, 104);
  const uint64_t header = XXH64(bytes.data(), 120, 0);
  std::memcpy(bytes.data() + 120, &header, 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  put_right(bytes);
  const int fd = memfd_create("shard", 0);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return 0;
  try {
    const mneme::Shard shard("/proc/self/fd/" + std::to_string(fd));
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      std::vector<int32_t> ids(shard.end_of(d) - shard.begin_of(d));
      shard.copy(shard.begin_of(d), ids.size(), ids.data());
      for (uint64_t t = shard.begin_of(d); t < shard.end_of(d); ++t) shard.counts(t);
    }
  } catch (const mneme::Error&) {
  }
  close(fd);
  return 0;
}
