#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "io/safetensors_header.h"

namespace mneme {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kDataAlign = 64;  // of the first tensor; the format asks for none
constexpr const char* kSupported = "supported: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL";

struct DtypeName {
  const char* name;
  at::ScalarType dtype;
};
constexpr std::array<DtypeName, 10> kDtypes{{{"F64", at::kDouble},
                                             {"F32", at::kFloat},
                                             {"F16", at::kHalf},
                                             {"BF16", at::kBFloat16},
                                             {"I64", at::kLong},
                                             {"I32", at::kInt},
                                             {"I16", at::kShort},
                                             {"I8", at::kChar},
                                             {"U8", at::kByte},
                                             {"BOOL", at::kBool}}};

at::ScalarType parse_dtype_of(const std::string& where, const std::string& tensor, const std::string& name) {
  for (const DtypeName& d : kDtypes) {
    if (name == d.name) return d.dtype;
  }
  throw Error(Kind::input, where + ": tensor '" + tensor + "' has the unknown dtype '" + name + "'",
              kSupported);
}

SafetensorsFile::Info checked_info(const std::string& where, const std::string& name,
                                   const SafetensorsHeader::Entry& entry, uint64_t data_start,
                                   uint64_t data_size) {
  const auto bad = [&](const std::string& why) { refuse_safetensors(where, "tensor '" + name + "' " + why); };
  SafetensorsFile::Info info;
  info.dtype = parse_dtype_of(where, name, entry.dtype);
  info.shape = entry.shape;
  if (entry.offsets.size() != 2)
    bad("has " + std::to_string(entry.offsets.size()) + " data_offsets instead of 2");
  const auto begin = static_cast<uint64_t>(entry.offsets[0]);
  const auto end = static_cast<uint64_t>(entry.offsets[1]);
  if (begin > end || end > data_size) {
    bad("claims bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
        std::to_string(data_size));
  }
  int64_t bytes = checked_numel(entry.shape);
  if (bytes < 0 ||
      __builtin_mul_overflow(bytes, static_cast<int64_t>(c10::elementSize(info.dtype)), &bytes) ||
      static_cast<uint64_t>(bytes) != end - begin) {
    bad("has a shape that does not fit its " + std::to_string(end - begin) + " bytes");
  }
  info.offset = data_start + begin;
  info.bytes = end - begin;
  return info;
}

std::string header_text(const std::string& path, const std::vector<const LazyTensor*>& order,
                        const Metadata& metadata) {
  using nlohmann::ordered_json;
  ordered_json header = ordered_json::object();
  auto& members = header.get_ref<ordered_json::object_t&>();  // operator[] would search it every time
  if (!metadata.empty()) members.emplace_back("__metadata__", metadata);
  std::set<std::string> names{"__metadata__"};
  int64_t offset = 0;
  for (const LazyTensor* t : order) {
    MNEME_CHECK(names.insert(t->name).second, "tensor name '" + t->name + "' is taken");
    MNEME_CHECK(checked_numel(t->shape) >= 0, t->name);
    const int64_t end = offset + checked_numel(t->shape) * static_cast<int64_t>(c10::elementSize(t->dtype));
    ordered_json entry;
    entry["dtype"] = safetensors_dtype(t->dtype);
    entry["shape"] = t->shape;
    entry["data_offsets"] = {offset, end};
    members.emplace_back(t->name, std::move(entry));
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const ordered_json::exception& e) {
    throw Error(Kind::input,
                "cannot write " + path + ": a name or the metadata is not valid UTF-8 (" + e.what() + ")");
  }
  while ((sizeof(uint64_t) + text.size()) % kDataAlign != 0) text += ' ';
  if (text.size() > kMaxHeader)
    throw Error(Kind::input, "cannot write " + path + ": its header would exceed 100 MB");
  return text;
}

}  // namespace

std::string safetensors_dtype(at::ScalarType dtype) {
  for (const DtypeName& d : kDtypes) {
    if (d.dtype == dtype) return d.name;
  }
  throw Error(Kind::input, "safetensors has no dtype for " + dtype_name(dtype), kSupported);
}

SafetensorsFile SafetensorsFile::open(const std::string& path) { return parse(map_file(path), path); }

SafetensorsFile SafetensorsFile::parse(Blob blob, std::string where) {
  uint64_t length = 0;
  if (blob.size < sizeof length)
    refuse_safetensors(where, "it has only " + std::to_string(blob.size) + " bytes");
  std::memcpy(&length, blob.data, sizeof length);
  if (length > kMaxHeader || length > blob.size - sizeof length) {
    refuse_safetensors(where, "its header claims " + std::to_string(length) + " bytes, the file has " +
                                  std::to_string(blob.size) + " (and 100 MB is the limit)");
  }
  const auto* text = reinterpret_cast<const char*>(blob.data) + sizeof length;
  SafetensorsHeader header = read_safetensors_header({text, length}, where);

  SafetensorsFile file;
  const uint64_t data_start = sizeof length + length;
  for (const auto& [name, entry] : header.entries) {
    file.infos_.emplace(name, checked_info(where, name, entry, data_start, blob.size - data_start));
    file.names_.push_back(name);
  }
  std::stable_sort(file.names_.begin(), file.names_.end(), [&](const std::string& a, const std::string& b) {
    const Info &x = file.infos_.at(a), &y = file.infos_.at(b);
    return std::pair(x.offset, x.bytes) <
           std::pair(y.offset, y.bytes);  // an empty tensor before its successor
  });
  uint64_t next = data_start;
  for (const std::string& name : file.names_) {
    const Info& info = file.infos_.at(name);
    if (info.offset != next) refuse_safetensors(where, "a hole or an overlap before tensor '" + name + "'");
    next += info.bytes;
  }
  if (next != blob.size)
    refuse_safetensors(where, std::to_string(blob.size - next) + " bytes follow its last tensor");
  file.metadata_ = std::move(header.metadata);
  file.blob_ = std::move(blob);
  file.where_ = std::move(where);
  return file;
}

const SafetensorsFile::Info& SafetensorsFile::info(const std::string& name) const {
  const auto found = infos_.find(name);
  if (found == infos_.end()) throw Error(Kind::input, where_ + " has no tensor '" + name + "'");
  return found->second;
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const Info& i = info(name);
  return tensor_in(blob_, i.offset, i.shape, i.dtype);
}

void write_safetensors(const std::string& path, const std::vector<LazyTensor>& tensors,
                       const Metadata& metadata) {
  std::vector<const LazyTensor*> order;
  for (const LazyTensor& t : tensors) order.push_back(&t);
  std::stable_sort(order.begin(), order.end(), [](const LazyTensor* a, const LazyTensor* b) {
    return c10::elementSize(a->dtype) > c10::elementSize(b->dtype);
  });
  const std::string header = header_text(path, order, metadata);
  const uint64_t length = header.size();
  AtomicFile out(path);
  out.write(&length, sizeof length);
  out.write(header);
  for (const LazyTensor* t : order) write_tensor(out, load_as_promised(*t));
  out.commit();
}

void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata) {
  std::vector<LazyTensor> lazy;
  for (const auto& [name, tensor] : tensors) {
    lazy.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), [&t = tensor] { return t; }});
  }
  write_safetensors(path, lazy, metadata);
}

}  // namespace mneme
