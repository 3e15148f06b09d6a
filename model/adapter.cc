#include "model/adapter.h"

#include <map>

#include "base/error.h"
#include "io/weights.h"
#include "model/architectures.h"

namespace mneme {
namespace {

// Modules by their names in the files. Adapters of a bare backbone leave its root out.
template <class T>
T* find_named(const std::map<std::string, T>& known, const std::string& root, const std::string& name) {
  auto found = known.find(name);
  if (found == known.end()) found = known.find(root + name);
  return found == known.end() ? nullptr : const_cast<T*>(&found->second);
}

std::map<std::string, Linear*> linears_by_file_name(Decoder& d, const NameMap& names) {
  std::map<std::string, Linear*> out;
  for (size_t l = 0; l < d.layers.size(); ++l) {
    Layer& p = d.layers[l];
    const std::pair<const char*, Linear*> all[] = {{"q", &p.q},     {"k", &p.k},      {"v", &p.v},
                                                   {"qkv", &p.qkv}, {"out", &p.out},  {"gate", &p.gate},
                                                   {"up", &p.up},   {"down", &p.down}};
    for (const auto& [name, linear] : all) {
      if (!linear->defined()) continue;
      out[without_leaf(names.file_name("layers." + std::to_string(l) + "." + name + ".weight").name)] =
          linear;
    }
  }
  return out;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why, const std::string& hint = {}) {
  throw Error(Kind::input, "adapter: '" + path + "' " + why, hint);
}

Lora fitted(const LoraPair& pair, const std::string& path, int64_t out, int64_t in, at::Device device) {
  if (pair.a.size(1) != in || pair.b.size(0) != out) {
    refuse(path,
           "has matrices " + describe(pair.a) + " and " + describe(pair.b) + " for a module " +
               format_shape({out, in}),
           "it belongs to another model");
  }
  const auto like = at::device(device).dtype(at::kFloat);
  return {pair.a.to(like), pair.b.to(like), pair.scale, 0.0};
}

void replace_whole(Decoder& d, const NameMap& names, const std::map<std::string, Tensor>& whole) {
  std::map<std::string, Parameter> known;
  for (const Parameter& p : d.parameters()) known.emplace(names.file_name(p.name).name, p);
  for (const auto& [name, t] : whole) {
    const Parameter* p = find_named(known, names.root(), name);
    if (p == nullptr) refuse(name, "is no tensor of the model");
    const bool transposed = names.file_name(p->name).transposed;
    const Tensor value = transposed ? t.t() : t;
    if (value.sizes() != at::IntArrayRef(p->shape)) {
      refuse(name, "is " + describe(t) + ", the model's has the shape " + format_shape(p->shape),
             "merge the adapter: mneme convert BASE DST --adapter DIR");
    }
    p->set(value.to(p->value().options()).contiguous());
  }
}

}  // namespace

void attach_adapter(Decoder& decoder, const Adapter& adapter) {
  const at::NoGradGuard no_grad;
  const ModelConfig& c = decoder.config();
  const NameMap names(c);
  std::map<std::string, Linear*> linears = linears_by_file_name(decoder, names);
  const std::string embedding = without_leaf(names.file_name("embedding").name);
  for (const auto& [path, pair] : adapter.pairs) {
    if (pair.embedding) {
      if (path != embedding && names.root() + path != embedding) refuse(path, "is no embedding of the model");
      decoder.embedding_lora = fitted(pair, path, c.embed_width, c.vocab, decoder.device());
      continue;
    }
    Linear** linear = find_named(linears, names.root(), path);
    if (linear == nullptr)
      refuse(path, "is no module of the model that can have one", "it belongs to another model");
    const Weight& w = (*linear)->weight;
    (*linear)->lora = fitted(pair, path, w.out(), w.in(), decoder.device());
  }
  replace_whole(decoder, names, adapter.whole);
  decoder.refresh();
}

}  // namespace mneme
