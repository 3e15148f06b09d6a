#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kLeastEntry = 8 + 4 + 4 + 8;  // bytes of a tensor's row in the table

class TableReader {
 public:
  TableReader(const Blob& blob, uint64_t at, const std::string& where)
      : blob_(blob), at_(at), where_(where) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(Kind::input, where_ + " is not a valid GGUF file: " + why, "download or write it again");
  }
  std::string_view take(uint64_t count) {
    if (count > blob_.size - at_) refuse("it is cut short");
    at_ += count;
    return {reinterpret_cast<const char*>(blob_.data) + at_ - count, count};
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  uint64_t at() const { return at_; }

  std::pair<std::string, GgufFile::Info> entry() {
    std::string name(take(number<uint64_t>()));
    GgufFile::Info info;
    const auto rank = number<uint32_t>();
    if (rank > kMaxDimensions) refuse("tensor '" + name + "' has " + std::to_string(rank) + " dimensions");
    for (uint32_t i = 0; i < rank; ++i)
      info.shape.insert(info.shape.begin(), static_cast<int64_t>(number<uint64_t>()));
    const auto type = number<uint32_t>();
    const auto known = ggml_type(type);
    if (!known) {
      throw Error(Kind::input, where_ + ": tensor '" + name + "' is of type " + ggml_type_name(type),
                  "mneme reads F32, F16, BF16, Q8_0 and Q4_0; convert the file to one of these");
    }
    info.type = *known;
    info.offset = number<uint64_t>();
    const int64_t count = checked_numel(info.shape);
    if (count < 0 || count > INT64_MAX / 8) refuse("tensor '" + name + "' has an impossible shape");
    if (is_quantised(info.type) && (info.shape.empty() || info.shape.back() % kGgmlBlock != 0)) {
      refuse("tensor '" + name + "' is quantised, but its rows are not whole blocks");
    }
    info.bytes = ggml_bytes(info.type, count);
    return {std::move(name), std::move(info)};
  }

 private:
  const Blob& blob_;
  uint64_t at_;
  const std::string& where_;
};

uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

}  // namespace

bool GgufFile::looks_like(const Blob& blob) {
  return blob.size >= 4 && std::memcmp(blob.data, "GGUF", 4) == 0;
}

GgufFile GgufFile::open(const std::string& path) { return parse(map_file(path), path); }

GgufFile GgufFile::parse(Blob blob, std::string where) {
  GgufFile file;
  file.metadata_ = GgufMetadata::parse({reinterpret_cast<const char*>(blob.data), blob.size}, where);
  TableReader in(blob, file.metadata_.end(), where);
  const int64_t alignment = file.metadata_.integer("general.alignment").value_or(kDefaultAlignment);
  if (alignment < 1 || alignment > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    in.refuse("an alignment of " + std::to_string(alignment));
  }
  if (file.metadata_.tensor_count() > (blob.size - in.at()) / kLeastEntry) in.refuse("it is cut short");
  for (uint64_t i = 0; i < file.metadata_.tensor_count(); ++i) {
    auto [name, info] = in.entry();
    if (!file.infos_.emplace(name, std::move(info)).second) in.refuse("tensor '" + name + "' occurs twice");
    file.names_.push_back(name);
  }
  const uint64_t start = std::min(round_up(in.at(), static_cast<uint64_t>(alignment)), blob.size);
  std::vector<std::pair<uint64_t, uint64_t>> spans;
  for (auto& [name, info] : file.infos_) {
    if (info.offset % static_cast<uint64_t>(alignment) != 0 || info.offset > blob.size - start ||
        info.bytes > blob.size - start - info.offset) {
      in.refuse("tensor '" + name + "' lies outside of the file or unaligned");
    }
    info.offset += start;
    spans.emplace_back(info.offset, info.offset + info.bytes);
  }
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].first < spans[i - 1].second) in.refuse("tensors overlap");
  }
  file.blob_ = std::move(blob);
  file.where_ = std::move(where);
  return file;
}

const GgufFile::Info& GgufFile::info(const std::string& name) const {
  const auto found = infos_.find(name);
  if (found == infos_.end()) throw Error(Kind::input, where_ + " has no tensor '" + name + "'");
  return found->second;
}

Tensor GgufFile::tensor(const std::string& name, at::ScalarType quantised_as) const {
  const Info& i = info(name);
  if (const auto dtype = plain_dtype(i.type)) return tensor_in(blob_, i.offset, i.shape, *dtype);
  const bool direct = quantised_as == at::kHalf || quantised_as == at::kBFloat16;
  Tensor out = at::empty(i.shape, direct ? quantised_as : at::kFloat);
  dequantise(i.type, blob_.data + i.offset, out);
  return out.to(quantised_as);
}

}  // namespace mneme
