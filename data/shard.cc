#include "data/shard.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

// Little-endian, as every machine this runs on is; sections begin at multiples of 64.
struct Header {
  char magic[8];
  uint32_t version, flags;
  uint64_t tokens, documents, trained;
  uint64_t tokenizer, settings;
  uint64_t offsets_at, ids_at, mask_at, size;
  uint64_t offsets_hash, ids_hash, mask_hash;
  uint32_t vocabulary, reserved;
  uint64_t header_hash;  // of all before it
};
static_assert(sizeof(Header) == 128);

constexpr char kMagic[8] = {'M', 'N', 'E', 'M', 'E', 'T', 'O', 'K'};
constexpr uint32_t kVersion = 1, kWide = 1, kMasked = 2;

uint64_t aligned(uint64_t at) { return (at + 63) / 64 * 64; }
uint64_t hash_of(const void* bytes, size_t size) { return XXH64(bytes, size, 0); }

template <class T>
uint64_t bytes_of(const std::vector<T>& v) {
  return v.size() * sizeof(T);
}

void pad_to(AtomicFile& file, uint64_t at) {
  const std::string zeros(static_cast<size_t>(at - file.position()), '\0');
  file.write(zeros);
}

}  // namespace

void ShardWriter::add(const TokenizedDocument& document) {
  for (const int32_t id : document.ids) {
    MNEME_CHECK(id >= 0 && static_cast<uint32_t>(id) < info_.vocabulary, "token " + std::to_string(id));
  }
  MNEME_CHECK(document.trained.empty() || document.trained.size() == document.ids.size());
  ids_.insert(ids_.end(), document.ids.begin(), document.ids.end());
  ends_.push_back(ids_.size());
  masked_ = masked_ || !document.trained.empty();
  if (document.trained.empty()) {
    trained_.resize(ids_.size(), true);
  } else {
    trained_.insert(trained_.end(), document.trained.begin(), document.trained.end());
  }
}

uint64_t ShardWriter::trained() const {
  return static_cast<uint64_t>(std::count(trained_.begin(), trained_.end(), true));
}

void ShardWriter::clear() {
  ids_.clear();
  ends_.clear();
  trained_.clear();
  masked_ = false;
}

void ShardWriter::write(const std::string& path) const {
  const bool wide = info_.vocabulary > 65536;
  std::vector<uint64_t> offsets(1, 0);
  offsets.insert(offsets.end(), ends_.begin(), ends_.end());
  std::vector<uint16_t> narrow;
  if (!wide) narrow.assign(ids_.begin(), ids_.end());
  std::vector<uint8_t> mask(masked_ ? (ids_.size() + 7) / 8 : 0);
  for (size_t i = 0; masked_ && i < ids_.size(); ++i) {
    if (trained_[i]) mask[i / 8] = static_cast<uint8_t>(mask[i / 8] | (1U << (i % 8)));
  }
  const void* ids = wide ? static_cast<const void*>(ids_.data()) : narrow.data();
  const uint64_t ids_size = wide ? bytes_of(ids_) : bytes_of(narrow);

  Header h = {};
  std::copy(std::begin(kMagic), std::end(kMagic), h.magic);
  h.version = kVersion;
  h.flags = (wide ? kWide : 0) | (masked_ ? kMasked : 0);
  h.tokens = tokens();
  h.documents = documents();
  h.trained = trained();
  h.tokenizer = info_.tokenizer;
  h.settings = info_.settings;
  h.vocabulary = info_.vocabulary;
  h.offsets_at = sizeof(Header);
  h.ids_at = aligned(h.offsets_at + bytes_of(offsets));
  h.mask_at = masked_ ? aligned(h.ids_at + ids_size) : 0;
  h.size = masked_ ? h.mask_at + mask.size() : h.ids_at + ids_size;
  h.offsets_hash = hash_of(offsets.data(), bytes_of(offsets));
  h.ids_hash = hash_of(ids, ids_size);
  h.mask_hash = hash_of(mask.data(), mask.size());
  h.header_hash = hash_of(&h, offsetof(Header, header_hash));

  AtomicFile file(path);
  file.write(&h, sizeof h);
  file.write(offsets.data(), bytes_of(offsets));
  pad_to(file, h.ids_at);
  file.write(ids, ids_size);
  if (masked_) {
    pad_to(file, h.mask_at);
    file.write(mask.data(), mask.size());
  }
  file.commit();
}

Shard::Shard(const std::string& path, Check check) : map_(path) {
  const auto damaged = [&](const std::string& what) {
    throw Error(Kind::input, path + ": not a whole token shard: " + what, "prepare the data again");
  };
  Header h;
  if (map_.size() < sizeof h) damaged("shorter than its header");
  std::memcpy(&h, map_.data(), sizeof h);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) damaged("it does not begin with MNEMETOK");
  if (h.version != kVersion)
    damaged("version " + std::to_string(h.version) + ", expected " + std::to_string(kVersion));
  if (h.header_hash != hash_of(&h, offsetof(Header, header_hash))) damaged("the header's checksum differs");
  if (h.size != map_.size()) {
    damaged("expected " + std::to_string(h.size) + " bytes, found " + std::to_string(map_.size()));
  }
  wide_ = (h.flags & kWide) != 0;
  const bool masked = (h.flags & kMasked) != 0;
  // Sizes before products: a header may say anything.
  const uint64_t most = map_.size(), width = wide_ ? 4 : 2;
  if ((h.flags & ~(kWide | kMasked)) != 0 || h.tokens > most || h.documents > most || h.trained > h.tokens ||
      h.offsets_at != sizeof h || h.ids_at != aligned(h.offsets_at + (h.documents + 1) * 8) ||
      h.ids_at > most || h.tokens * width > most - h.ids_at) {
    damaged("its sections do not fit it");
  }
  const uint64_t ids_end = h.ids_at + h.tokens * width, mask_size = masked ? (h.tokens + 7) / 8 : 0;
  if (masked ? (h.mask_at != aligned(ids_end) || h.mask_at + mask_size != most)
             : (h.mask_at != 0 || ids_end != most)) {
    damaged("its sections do not fit it");
  }
  tokens_ = h.tokens;
  documents_ = h.documents;
  trained_ = h.trained;
  info_ = {h.tokenizer, h.settings, h.vocabulary};
  offsets_ = map_.data() + h.offsets_at;
  ids_ = map_.data() + h.ids_at;
  mask_ = masked ? map_.data() + h.mask_at : nullptr;
  if (h.offsets_hash != hash_of(offsets_, (documents_ + 1) * 8))
    damaged("the checksum of the documents differs");
  for (uint64_t d = 0; d < documents_; ++d) {
    if (begin_of(d) > end_of(d)) damaged("the documents are not in order");
  }
  if (begin_of(0) != 0 || begin_of(documents_) != tokens_) damaged("the documents do not cover the tokens");
  if (check == Check::header) return;
  if (h.ids_hash != hash_of(ids_, tokens_ * width)) damaged("the checksum of the tokens differs");
  std::vector<int32_t> ids(size_t{1} << 16);
  for (uint64_t at = 0; at < tokens_; at += ids.size()) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(ids.size(), tokens_ - at));
    copy(at, count, ids.data());
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] < 0 || static_cast<uint32_t>(ids[i]) >= info_.vocabulary)
        damaged("a token outside of the vocabulary");
    }
  }
  if (masked && h.mask_hash != hash_of(mask_, mask_size)) damaged("the checksum of the mask differs");
}

uint64_t Shard::begin_of(uint64_t document) const {
  uint64_t offset = 0;
  std::memcpy(&offset, offsets_ + document * 8, 8);
  return offset;
}

void Shard::copy(uint64_t first, size_t count, int32_t* out) const {
  MNEME_CHECK(first <= tokens_ && count <= tokens_ - first);
  if (wide_) {
    if (count) std::memcpy(out, ids_ + first * 4, count * 4);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    uint16_t id = 0;
    std::memcpy(&id, ids_ + (first + i) * 2, 2);
    out[i] = id;
  }
}

bool Shard::counts(uint64_t token) const {
  return !mask_ || (std::to_integer<unsigned>(mask_[token / 8]) >> (token % 8) & 1U) != 0;
}

}  // namespace mneme
