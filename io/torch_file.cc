#include "io/torch_file.h"

#include <cstring>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "io/pickle.h"
#include "io/torch_object.h"

namespace mneme {
namespace {

constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
                                  10);  // of the old format, an integer

[[noreturn]] void refuse_file(const std::string& where, const std::string& why) {
  throw Error(Kind::input, where + " is not a valid PyTorch file: " + why, "download or write it again");
}

std::string_view rest_of(const Blob& blob, uint64_t at) {
  return {reinterpret_cast<const char*>(blob.data) + at, blob.size - at};
}

// The folder that a zip file keeps everything in, with its slash.
std::string folder_of(const ZipArchive& zip, const std::string& where) {
  constexpr std::string_view kName = "data.pkl";
  std::string folder;
  int found = 0;
  for (const auto& [name, member] : zip.members()) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos || std::string_view(name).substr(slash + 1) != kName) continue;
    folder = name.substr(0, slash + 1);
    ++found;
  }
  if (found != 1)
    refuse_file(where, "the archive holds " + std::to_string(found) + " files data.pkl instead of one");
  if (zip.contains(folder + "constants.pkl")) {
    throw Error(Kind::input, where + " is a TorchScript program, not a set of tensors",
                "save its state dict instead");
  }
  return folder;
}

}  // namespace

// Blobs by key. Old files have them all at once; members of an archive are looked up, compressed ones
// inflated and remembered as long as a tensor uses them, so that tensors of one storage share it.
struct TorchFile::Storages {
  struct Inflated {
    std::weak_ptr<void> owner;
    uint8_t* data;
    uint64_t size;
  };
  std::optional<ZipArchive> zip;
  std::string folder;  // in the archive, with its slash
  std::map<std::string, Blob> old;
  std::map<std::string, Inflated> inflated;
  std::mutex mutex;

  std::string member(const std::string& key) const { return folder + "data/" + key; }

  uint64_t bytes(const std::string& key) const {
    if (zip) return zip->contains(member(key)) ? zip->members().at(member(key)).bytes : 0;
    return old.count(key) != 0 ? old.at(key).size : 0;
  }

  Blob get(const std::string& key) {
    if (!zip) return old.at(key);
    if (!zip->members().at(member(key)).deflated) return zip->read(member(key));
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = inflated.find(key);
    if (found != inflated.end()) {
      if (auto owner = found->second.owner.lock())
        return {std::move(owner), found->second.data, found->second.size};
    }
    Blob blob = zip->read(member(key));
    inflated[key] = {blob.owner, blob.data, blob.size};
    return blob;
  }
};

namespace {

TorchObject read_zip(const Blob& blob, const std::string& where, std::optional<ZipArchive>& zip,
                     std::string& folder) {
  zip = ZipArchive::parse(blob, where);
  folder = folder_of(*zip, where);
  if (zip->contains(folder + "byteorder")) {
    const Blob order = zip->read(folder + "byteorder");
    if (rest_of(order, 0) != "little") refuse_file(where, "its numbers are not little endian");
  }
  const Blob program = zip->read(folder + "data.pkl");
  return read_torch_object(read_pickle(rest_of(program, 0), where, torch_globals()), where);
}

// Pickles of a magic number, a version, facts of the system, the object, the list of storage keys; then for
// every key an int64 count and the elements.
TorchObject read_old(const Blob& blob, const std::string& where, std::map<std::string, Blob>& storages) {
  uint64_t at = 0;
  const auto next = [&] {
    Pickle pickle = read_pickle(rest_of(blob, at), where, torch_globals());
    at += pickle.bytes;
    return pickle;
  };
  const Pickle magic = next(), version = next();
  if (magic.values[magic.root].text != kMagic) refuse_file(where, "it does not begin with PyTorch's number");
  if (version.values[version.root].integer != 1001)
    refuse_file(where, "an unknown version of the old format");
  next();
  const Pickle saved = next();
  TorchObject object = read_torch_object(saved, where);
  const Pickle keys = next();
  for (const uint32_t item : keys.values[keys.root].items) {
    const std::string key(keys.values[item].text);
    const auto storage = object.storages.find(key);
    if (storage == object.storages.end() || storages.count(key) != 0)
      refuse_file(where, "a storage that nothing uses");
    int64_t count = 0;
    if (blob.size - at < sizeof count) refuse_file(where, "it is cut short");
    std::memcpy(&count, blob.data + at, sizeof count);
    at += sizeof count;
    const auto width = static_cast<int64_t>(c10::elementSize(storage->second.dtype));
    if (count < 0 || count > static_cast<int64_t>(blob.size - at) / width)
      refuse_file(where, "it is cut short");
    storages[key] = Blob{blob.owner, blob.data + at, static_cast<uint64_t>(count * width)};
    at += static_cast<uint64_t>(count * width);
  }
  return object;
}

}  // namespace

bool TorchFile::looks_like(const Blob& blob) {
  if (ZipArchive::looks_like(blob)) return true;
  return blob.size > 0 && blob.data[0] == 0x80 &&
         rest_of(blob, 0).substr(0, 32).find(kMagic) != std::string_view::npos;
}

TorchFile TorchFile::open(const std::string& path) { return parse(map_file(path), path); }

TorchFile TorchFile::parse(Blob blob, std::string where) {
  if (!looks_like(blob)) refuse_file(where, "neither a zip archive nor the older format of torch.save");
  TorchFile file;
  file.storages_ = std::make_shared<Storages>();
  Storages& s = *file.storages_;
  TorchObject object =
      ZipArchive::looks_like(blob) ? read_zip(blob, where, s.zip, s.folder) : read_old(blob, where, s.old);
  for (const auto& [key, storage] : object.storages) {
    const uint64_t need = static_cast<uint64_t>(storage.count) * c10::elementSize(storage.dtype);
    if (s.bytes(key) < need) {
      refuse_file(where, "storage '" + key + "' has " + std::to_string(s.bytes(key)) + " bytes instead of " +
                             std::to_string(need));
    }
  }
  for (auto& [name, t] : object.tensors) {
    file.names_.push_back(name);
    file.infos_.emplace(name, Info{t.dtype, std::move(t.shape), std::move(t.strides), t.section, t.storage,
                                   t.offset, t.extent});
  }
  file.where_ = std::move(where);
  return file;
}

const TorchFile::Info& TorchFile::info(const std::string& name) const {
  const auto found = infos_.find(name);
  if (found == infos_.end()) throw Error(Kind::input, where_ + " has no tensor '" + name + "'");
  return found->second;
}

Tensor TorchFile::tensor(const std::string& name) const {
  const Info& i = info(name);
  if (i.extent == 0) return at::empty(i.shape, i.dtype);
  const auto offset = static_cast<uint64_t>(i.offset) * c10::elementSize(i.dtype);
  return tensor_in(storages_->get(i.storage), offset, {i.extent}, i.dtype).as_strided(i.shape, i.strides);
}

}  // namespace mneme
