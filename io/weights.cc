#include "io/weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "io/gguf_model.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace mneme {
namespace {

constexpr size_t kListed = 20;

// A list of at most kListed lines under a heading.
class Listing {
 public:
  explicit Listing(std::string heading) : heading_(std::move(heading)) {}
  void add(const std::string& line) {
    if (count_++ < kListed) lines_ += "\n    " + line;
  }
  size_t count() const { return count_; }
  std::string text() const {
    if (count_ == 0) return "";
    const std::string more =
        count_ > kListed ? "\n    and " + std::to_string(count_ - kListed) + " more" : "";
    return "\n  " + std::to_string(count_) + " " + heading_ + ":" + lines_ + more;
  }

 private:
  std::string heading_, lines_;
  size_t count_ = 0;
};

class SafetensorsReader final : public TensorReader {
 public:
  explicit SafetensorsReader(SafetensorsFile file) : file_(std::move(file)) {}
  std::vector<std::string> names() const override { return file_.names(); }
  Info info(const std::string& name) const override {
    return {file_.info(name).dtype, file_.info(name).shape};
  }
  Tensor tensor(const std::string& name) const override { return file_.tensor(name); }
  const char* format() const override { return "safetensors"; }

 private:
  SafetensorsFile file_;
};

// The tensors of one section, under their own names.
class TorchReader final : public TensorReader {
 public:
  TorchReader(TorchFile file, const std::string& section)
      : file_(std::move(file)), prefix_(choose(section)) {}
  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const std::string& name : file_.names()) {
      const bool inside = (file_.info(name).section + ".").rfind(prefix_, 0) == 0;
      if (inside) out.push_back(name.substr(prefix_.size()));
    }
    return out;
  }
  Info info(const std::string& name) const override {
    const TorchFile::Info& i = file_.info(prefix_ + name);
    return {i.dtype, i.shape};
  }
  Tensor tensor(const std::string& name) const override { return file_.tensor(prefix_ + name); }
  const char* format() const override { return "pytorch"; }

 private:
  std::string choose(const std::string& wanted) const {
    std::vector<std::string> sections;
    for (const std::string& name : file_.names()) {
      const std::string& section = file_.info(name).section;
      if (std::find(sections.begin(), sections.end(), section) == sections.end()) sections.push_back(section);
    }
    const auto holds = [&](const std::string& key) {
      return std::any_of(sections.begin(), sections.end(), [&](const std::string& s) {
        return s == key || (!key.empty() && s.rfind(key + ".", 0) == 0);
      });
    };
    if (!wanted.empty()) {
      if (holds(wanted)) return wanted + ".";
    } else {
      if (sections.empty() || holds("")) return "";
      std::vector<std::string> usual;
      for (const char* s : {"state_dict", "model_state_dict", "model", "module"}) {
        if (holds(s)) usual.emplace_back(s);
      }
      if (usual.size() == 1) return usual[0] + ".";
    }
    std::string list;
    for (size_t i = 0; i < std::min(sections.size(), kListed); ++i)
      list += (i ? ", '" : "'") + sections[i] + "'";
    throw Error(Kind::input,
                file_.where() + ": " +
                    (wanted.empty() ? "it is not clear which tensors are the model's"
                                    : "no tensors under '" + wanted + "'") +
                    "; there are some under " + list,
                "name one of these keys, or save the state dict alone");
  }

  TorchFile file_;
  std::string prefix_;
};

class GgufReader final : public TensorReader {
 public:
  GgufReader(GgufModel model, at::ScalarType quantised_as)
      : model_(std::move(model)), quantised_as_(quantised_as) {}
  std::vector<std::string> names() const override { return model_.names(); }
  Info info(const std::string& name) const override {
    return {model_.dtype(name, quantised_as_), model_.shape(name)};
  }
  Tensor tensor(const std::string& name) const override { return model_.tensor(name, quantised_as_); }
  const char* format() const override { return "gguf"; }

 private:
  GgufModel model_;
  at::ScalarType quantised_as_;
};

class LazyReader final : public TensorReader {
 public:
  LazyReader(std::vector<LazyTensor> tensors, std::string format) : format_(std::move(format)) {
    for (LazyTensor& t : tensors) {
      names_.push_back(t.name);
      const std::string name = t.name;
      tensors_.insert_or_assign(name, std::move(t));
    }
  }
  std::vector<std::string> names() const override { return names_; }
  Info info(const std::string& name) const override {
    return {tensors_.at(name).dtype, tensors_.at(name).shape};
  }
  Tensor tensor(const std::string& name) const override { return load_as_promised(tensors_.at(name)); }
  const char* format() const override { return format_.c_str(); }

 private:
  std::map<std::string, LazyTensor> tensors_;
  std::vector<std::string> names_;
  std::string format_;
};

std::shared_ptr<const TensorReader> open_file(const std::string& path, const WeightOptions& options) {
  Blob blob = map_file(path);
  if (GgufFile::looks_like(blob)) {
    return std::make_shared<GgufReader>(GgufModel(GgufFile::parse(std::move(blob), path)),
                                        options.quantised_as);
  }
  if (TorchFile::looks_like(blob)) {
    return std::make_shared<TorchReader>(TorchFile::parse(std::move(blob), path), options.section);
  }
  return std::make_shared<SafetensorsReader>(SafetensorsFile::parse(std::move(blob), path));
}

// {"weight_map": {tensor: file}}: every file of the list is opened, and both sides must agree on every
// tensor.
WeightSource open_shards(const std::string& index, const WeightOptions& options) {
  const nlohmann::json json = read_json(index);
  const JsonReader root(json, index);
  const JsonReader map = root.object("weight_map");
  std::map<std::string, std::string> file_of;
  std::map<std::string, std::shared_ptr<const TensorReader>> shards;
  for (const auto& [name, file] : map.json().items()) {
    if (!file.is_string()) map.fail(name, "the name of a file");
    const std::string& shard = file_of[name] = file.get<std::string>();
    if (shard.empty() || shard.find('/') != std::string::npos) map.fail(name, "a file in the same folder");
    shards[shard] = nullptr;
  }
  const std::string folder = index.substr(0, index.rfind('/') + 1);
  std::vector<std::shared_ptr<const TensorReader>> readers;
  for (auto& [name, reader] : shards) {
    if (!file_exists(folder + name)) {
      throw Error(Kind::input, index + " names '" + name + "', which is not there",
                  "download the missing file");
    }
    reader = open_file(folder + name, options);
    readers.push_back(reader);
  }
  WeightSource source(std::move(readers), index);
  Listing absent("named there and in no file"), unnamed("in the files and not named there");
  for (const auto& [name, shard] : file_of) {
    if (!source.contains(name)) absent.add(name + " of " + shard);
  }
  for (const std::string& name : source.names()) {
    if (file_of.count(name) == 0) unnamed.add(name);
  }
  if (absent.count() + unnamed.count() > 0) {
    throw Error(Kind::input,
                index + " and its files disagree on the tensors:" + absent.text() + unnamed.text(),
                "download index and files again");
  }
  return source;
}

std::string find_in_folder(const std::string& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (file_exists(join_path(folder, name))) return join_path(folder, name);
  }
  for (const char* suffix : {".safetensors", ".gguf"}) {
    const std::vector<std::string> found = list_folder(folder, suffix);
    if (found.size() == 1) return join_path(folder, found[0]);
  }
  throw Error(Kind::input, "no weights in " + folder,
              "expected model.safetensors, pytorch_model.bin, one of their .index.json, or one .safetensors "
              "or .gguf file");
}

}  // namespace

WeightSource WeightSource::open(const std::string& path, const WeightOptions& options) {
  const std::string file = is_folder(path) ? find_in_folder(path) : path;
  if (file.ends_with(".index.json")) return open_shards(file, options);
  return WeightSource({open_file(file, options)}, file);
}

WeightSource::WeightSource(std::vector<std::shared_ptr<const TensorReader>> readers, std::string where)
    : where_(std::move(where)) {
  for (const auto& reader : readers) {
    for (const std::string& name : reader->names()) add(name, Entry{reader, name});
  }
}

WeightSource WeightSource::of(std::vector<LazyTensor> tensors, std::string where, std::string format) {
  return WeightSource({std::make_shared<LazyReader>(std::move(tensors), std::move(format))},
                      std::move(where));
}

void WeightSource::add(const std::string& name, Entry entry) {
  if (!entries_.emplace(name, std::move(entry)).second) {
    throw Error(Kind::input, where_ + ": tensor '" + name + "' occurs twice");
  }
  names_.push_back(name);
}

const WeightSource::Entry& WeightSource::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw Error(Kind::input, where_ + " has no tensor '" + name + "'");
  return found->second;
}

WeightSource::Info WeightSource::info(const std::string& name) const {
  const Entry& e = entry(name);
  return e.reader->info(e.name);
}

Tensor WeightSource::tensor(const std::string& name) const {
  const Entry& e = entry(name);
  return e.reader->tensor(e.name);
}

LazyTensor WeightSource::lazy(const std::string& name) const {
  const Entry& e = entry(name);
  Info i = e.reader->info(e.name);
  return {name, i.dtype, std::move(i.shape), [e] { return e.reader->tensor(e.name); }};
}

const char* WeightSource::format() const {
  return entries_.empty() ? "empty" : entries_.begin()->second.reader->format();
}

WeightSource WeightSource::renamed(const std::function<std::string(const std::string&)>& rename) const {
  WeightSource out;
  out.where_ = where_;
  for (const std::string& name : names_) {
    const std::string other = rename(name);
    if (!other.empty()) out.add(other, entries_.at(name));
  }
  return out;
}

std::string format_shape(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

Shapes shapes_of(const WeightSource& source) {
  Shapes out;
  for (const std::string& name : source.names()) out[name] = source.info(name).shape;
  return out;
}

void require_tensors(const WeightSource& found, const Shapes& expected,
                     const std::function<bool(const std::string&)>& may_be_extra) {
  require_tensors(shapes_of(found), expected, found.where(), may_be_extra);
}

void require_tensors(const Shapes& found, const Shapes& expected, const std::string& where,
                     const std::function<bool(const std::string&)>& may_be_extra) {
  Listing missing("missing"), unexpected("unexpected"), misshapen("of another shape");
  for (const auto& [name, shape] : expected) {
    const auto f = found.find(name);
    if (f == found.end()) {
      missing.add(name + " " + format_shape(shape));
    } else if (f->second != shape) {
      misshapen.add(name + ": expected " + format_shape(shape) + ", found " + format_shape(f->second));
    }
  }
  for (const auto& [name, shape] : found) {
    if (expected.count(name) == 0 && !(may_be_extra && may_be_extra(name))) {
      unexpected.add(name + " " + format_shape(shape));
    }
  }
  if (missing.count() + unexpected.count() + misshapen.count() == 0) return;
  throw Error(
      Kind::input,
      "the tensors of " + where + " do not fit:" + missing.text() + misshapen.text() + unexpected.text(),
      "check that config.json and the weights belong to the same model");
}

}  // namespace mneme
