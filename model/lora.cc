#include "model/lora.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "model/architectures.h"

namespace mneme {
namespace {

struct NamedLinear {
  std::string name;  // "layers.0.q"
  Linear* linear;
};

std::vector<NamedLinear> linears(Decoder& d) {
  std::vector<NamedLinear> out;
  for (size_t l = 0; l < d.layers.size(); ++l) {
    Layer& p = d.layers[l];
    const std::string at = "layers." + std::to_string(l) + ".";
    const std::pair<const char*, Linear*> all[] = {{"q", &p.q},     {"k", &p.k},      {"v", &p.v},
                                                   {"qkv", &p.qkv}, {"out", &p.out},  {"gate", &p.gate},
                                                   {"up", &p.up},   {"down", &p.down}};
    for (const auto& [name, linear] : all) {
      if (linear->defined()) out.push_back({at + name, linear});
    }
  }
  return out;
}

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

Tensor filled(std::vector<int64_t> shape, uint64_t seed, uint64_t index, bool normal) {
  Tensor t = at::empty(shape, at::kFloat);
  const Site site{.seed = seed, .row = index, .layer = 0xfffd, .draw = Draw::init};
  const auto n = static_cast<size_t>(t.numel());
  if (normal) {
    fill_normal(site, t.data_ptr<float>(), n);
    return t;
  }
  fill_uniform(site, t.data_ptr<float>(), n);
  return (t * 2 - 1) / std::sqrt(static_cast<double>(shape[1]));  // kaiming-uniform with a = sqrt(5)
}

}  // namespace

void attach_lora(Decoder& decoder, const LoraOptions& options, uint64_t seed) {
  if (options.rank <= 0) return;
  const NameMap names(decoder.config());
  std::set<std::string> unknown(options.targets.begin(), options.targets.end()), known;
  const auto wanted = [&](const std::string& module) {
    known.insert(module);
    unknown.erase(module);
    return options.targets.empty() || std::count(options.targets.begin(), options.targets.end(), module) > 0;
  };
  const double scale = options.alpha / static_cast<double>(options.rank);
  uint64_t index = 0;
  for (const NamedLinear& l : linears(decoder)) {
    const std::string module = last_part(without_leaf(names.file_name(l.name + ".weight").name));
    ++index;
    if (!wanted(module)) continue;
    const Weight& w = l.linear->weight;
    const at::TensorOptions like = at::device(decoder.device()).dtype(at::kFloat);
    l.linear->lora = Lora{filled({options.rank, w.in()}, seed, index, false).to(like),
                          at::zeros({w.out(), options.rank}, like), scale, options.dropout};
  }
  const std::string embedding = last_part(without_leaf(names.file_name("embedding").name));
  const ModelConfig& c = decoder.config();
  if (!options.targets.empty() && wanted(embedding)) {
    decoder.embedding_lora = Lora{at::zeros({options.rank, c.vocab}, at::kFloat),
                                  filled({c.embed_width, options.rank}, seed, index + 1, true), scale, 0};
  }
  if (!unknown.empty()) {
    std::string list;
    for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
    throw Error(Kind::usage, "lora.targets: the model has no module '" + *unknown.begin() + "'",
                "its modules are " + list);
  }
}

std::vector<Parameter> lora_parameters(Decoder& decoder) {
  std::vector<Parameter> out;
  const auto add = [&](const std::string& name, std::optional<Lora>& lora) {
    if (!lora) return;
    out.push_back({name + ".lora_a", nullptr, &lora->a, lora->a.sizes().vec(), true});
    out.push_back({name + ".lora_b", nullptr, &lora->b, lora->b.sizes().vec(), true});
  };
  add("embedding", decoder.embedding_lora);
  for (const NamedLinear& l : linears(decoder)) add(l.name, l.linear->lora);
  return out;
}

void merge_lora(Decoder& decoder) {
  const at::NoGradGuard no_grad;
  const auto product = [](const Lora& l) { return at::matmul(l.b, l.a) * l.scale; };
  for (const NamedLinear& l : linears(decoder)) {
    if (!l.linear->lora) continue;
    const Tensor w = l.linear->weight.value();
    l.linear->weight = Weight((w.to(at::kFloat) + product(*l.linear->lora)).to(w.scalar_type()));
    l.linear->lora.reset();
  }
  if (decoder.embedding_lora) {
    const Tensor e = decoder.embedding;
    decoder.embedding = (e.to(at::kFloat) + product(*decoder.embedding_lora).t()).to(e.scalar_type());
    decoder.embedding_lora.reset();
    decoder.refresh();
  }
}

Adapter export_adapter(Decoder& decoder, const LoraOptions& options, const std::string& base,
                       const std::vector<Parameter>& whole) {
  const NameMap names(decoder.config());
  Adapter out;
  out.config.rank = options.rank;
  out.config.alpha = options.alpha;
  out.config.dropout = options.dropout;
  out.config.base_model = base;
  std::set<std::string> targets;
  const auto add = [&](const std::string& ours, const Lora& lora, bool embedding) {
    const FileName file = names.file_name(embedding ? ours : ours + ".weight");
    const std::string path = without_leaf(file.name);
    targets.insert(last_part(path));
    out.config.fan_in_fan_out = out.config.fan_in_fan_out || file.transposed;
    out.pairs[path] = {lora.a.detach(), lora.b.detach(), embedding, lora.scale};
  };
  if (decoder.embedding_lora) add("embedding", *decoder.embedding_lora, true);
  for (const NamedLinear& l : linears(decoder)) {
    if (l.linear->lora) add(l.name, *l.linear->lora, false);
  }
  out.config.target_modules.assign(targets.begin(), targets.end());
  for (const auto& [name, t] : export_parameters(whole, file_naming(decoder.config()))) out.whole[name] = t;
  return out;
}

Naming peft_naming(Decoder& decoder, const std::string& prefix) {
  auto wrapped = std::make_shared<std::set<std::string>>();
  for (const Parameter& p : lora_parameters(decoder)) wrapped->insert(without_leaf(p.name));
  const auto map = std::make_shared<NameMap>(decoder.config());
  const Naming plain = file_naming(decoder.config(), prefix + "base_model.model.");
  return [=](const Parameter& p) -> FileName {
    const std::string leaf = last_part(p.name);
    if (leaf == "lora_a" || leaf == "lora_b") {
      const char side = leaf == "lora_a" ? 'A' : 'B';
      const std::string ours = without_leaf(p.name), at = prefix + "base_model.model.";
      if (ours == "embedding")
        return {at + without_leaf(map->file_name(ours).name) + ".lora_embedding_" + side + ".default"};
      return {at + without_leaf(map->file_name(ours + ".weight").name) + ".lora_" + side + ".default.weight"};
    }
    FileName f = plain(p);
    const bool embedding = p.name == "embedding" && wrapped->count("embedding") > 0;
    if (embedding || wrapped->count(without_leaf(p.name)) > 0)
      f.name = without_leaf(f.name) + ".base_layer." + last_part(f.name);
    return f;
  };
}

}  // namespace mneme
