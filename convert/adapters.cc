#include "convert/adapters.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "model/architectures.h"
#include "model/load.h"

namespace mneme {
namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

// The package's spelling of a name of the adapter: checkpoints of the bare backbone leave its root out.
std::string spelled(const Package& p, const std::string& name, const std::string& root) {
  if (p.weights.contains(name)) return name;
  if (p.weights.contains(root + name)) return root + name;
  if (name.rfind(root, 0) == 0 && p.weights.contains(name.substr(root.size())))
    return name.substr(root.size());
  return "";
}

// Whether a module's matrix is stored [in, out]. The architecture knows; adapters taken out of a checkpoint
// do not say it.
class StoredSideways {
 public:
  StoredSideways(const Package& p, const AdapterConfig& config) : otherwise_(config.fan_in_fan_out) {
    if (!p.known) return;
    Decoder shape(parse_model_config(p.config));
    const Naming naming = stored_naming(shape.config(), p.weights.names());
    for (const Parameter& parameter : shape.parameters()) {
      const FileName file = naming(parameter);
      known_[file.name] = file.transposed;
    }
  }
  bool operator()(const std::string& stored) const {
    const auto found = known_.find(stored);
    return found == known_.end() ? otherwise_ : found->second;
  }

 private:
  bool otherwise_;
  std::map<std::string, bool> known_;
};

std::string root_of(const Package& p) {
  return p.known ? NameMap(parse_model_config(p.config)).root() : "model.";
}

LazyTensor merged(LazyTensor base, const LoraPair& pair, bool fan_in_fan_out) {
  base.load = [load = base.load, dtype = base.dtype, pair, fan_in_fan_out] {
    const at::NoGradGuard no_grad;
    LoraPair exact = pair;
    exact.a = pair.a.to(at::kFloat);
    exact.b = pair.b.to(at::kFloat);
    return (load().to(at::kFloat) + exact.delta(fan_in_fan_out)).to(dtype).contiguous();
  };
  return base;
}

void check_fit(const std::string& path, const LazyTensor& base, const LoraPair& pair, bool fan_in_fan_out) {
  const std::vector<int64_t> product = pair.embedding || fan_in_fan_out
                                           ? std::vector<int64_t>{pair.a.size(1), pair.b.size(0)}
                                           : std::vector<int64_t>{pair.b.size(0), pair.a.size(1)};
  if (product == base.shape) return;
  throw Error(Kind::input,
              "adapter: the product of '" + path + "' is " + format_shape(product) +
                  ", the base's matrix is " + format_shape(base.shape),
              "the adapter belongs to another model");
}

// Rows of new tokens behind the base's.
LazyTensor extended(LazyTensor base, const Tensor& rows) {
  base.shape[0] += rows.size(0);
  base.load = [load = base.load, dtype = base.dtype, rows] { return at::cat({load(), rows.to(dtype)}); };
  return base;
}

LazyTensor replaced(LazyTensor base, const Tensor& whole) {
  base.load = [dtype = base.dtype, whole] { return whole.to(dtype).contiguous(); };
  return base;
}

}  // namespace

void merge_adapter(Package& p, const Adapter& adapter) {
  const std::string root = root_of(p);
  const StoredSideways sideways(p, adapter.config);
  std::map<std::string, LazyTensor> tensors;
  for (const std::string& name : p.weights.names()) tensors.emplace(name, p.weights.lazy(name));
  const auto find = [&](const std::string& name) -> LazyTensor& {
    const std::string stored = spelled(p, name, root);
    if (stored.empty()) {
      throw Error(Kind::input, "adapter: the model has no tensor '" + name + "'",
                  "the adapter belongs to another model");
    }
    return tensors.at(stored);
  };
  for (const auto& [path, pair] : adapter.pairs) {
    LazyTensor& base = find(path + ".weight");
    check_fit(path, base, pair, sideways(base.name));
    base = merged(base, pair, sideways(base.name));
  }
  int64_t more = 0;
  for (const auto& [name, t] : adapter.whole) {
    const bool tied_head = name == "lm_head.weight" && spelled(p, name, root).empty();
    if (tied_head && p.config.value("tie_word_embeddings", false)) continue;  // the embedding's twin
    LazyTensor& base = find(name);
    const std::vector<int64_t> shape = t.sizes().vec();
    const bool rows = shape.size() == 2 && base.shape.size() == 2 && shape[1] == base.shape[1];
    if (shape == base.shape) {
      base = replaced(base, t);
    } else if (rows && (more == 0 || more == shape[0])) {
      more = shape[0];
      base = extended(base, t);
    } else {
      throw Error(Kind::input, "adapter: '" + name + "' is " + describe(t) + ", the base's tensor " +
                                   format_shape(base.shape));
    }
  }
  if (more > 0) p.config["vocab_size"] = p.config.at("vocab_size").get<int64_t>() + more;
  std::vector<LazyTensor> all;
  for (const std::string& name : p.weights.names()) all.push_back(tensors.at(name));
  p.weights = WeightSource::of(std::move(all), p.weights.where(), p.weights.format());
  p.adapter.reset();
}

namespace {

struct Factors {
  LoraPair pair;
  double residual = 0;
};

Factors factorise(const Tensor& difference, int64_t rank) {
  const auto [u, s, vh] = at::linalg_svd(difference.to(at::kDouble), /*full_matrices=*/false);
  const int64_t r = std::min(rank, s.size(0));
  const Tensor root = s.narrow(0, 0, r).sqrt();
  Factors out;
  out.pair.b = (u.narrow(1, 0, r) * root).to(at::kFloat).contiguous();
  out.pair.a = (root.unsqueeze(1) * vh.narrow(0, 0, r)).to(at::kFloat).contiguous();
  const Tensor rest = s.narrow(0, r, s.size(0) - r);
  out.residual = rest.norm().item<double>() / s.norm().item<double>();
  return out;
}

}  // namespace

Adapter split_adapter(const Package& tuned, const Package& base, int64_t rank, SplitReport& report) {
  if (rank < 1)
    throw Error(Kind::usage, "the rank of the adapter must be at least 1, it is " + std::to_string(rank));
  if (!tuned.known) throw Error(Kind::usage, "an adapter can be made of known architectures only");
  const at::NoGradGuard no_grad;
  Decoder shape(parse_model_config(tuned.config));
  const Naming naming = stored_naming(shape.config(), tuned.weights.names());
  const Naming full = file_naming(shape.config());
  const std::string root = root_of(base);
  Adapter out;
  out.config.rank = rank;
  out.config.alpha = static_cast<double>(rank);
  std::set<std::string> modules, saved;
  for (const Parameter& p : shape.parameters()) {
    const FileName file = naming(p), published = full(p);
    const std::string in_base = spelled(base, published.name, root);
    if (in_base.empty()) throw Error(Kind::input, "the base has no tensor '" + published.name + "'");
    const Tensor a = tuned.weights.tensor(file.name), b = base.weights.tensor(in_base);
    if (a.sizes() != b.sizes())
      throw Error(Kind::input,
                  "'" + published.name + "' is " + describe(a) + ", the base's is " + describe(b));
    const Tensor difference = a.to(at::kFloat) - b.to(at::kFloat);
    if (difference.count_nonzero().item<int64_t>() == 0) continue;
    const std::string path = without_leaf(published.name);
    if (!p.matrix || p.name == "head.weight") {
      out.whole[published.name] = a;
      saved.insert(last_part(path));
      ++report.whole;
      continue;
    }
    out.config.fan_in_fan_out = out.config.fan_in_fan_out || file.transposed;
    Factors f = factorise(file.transposed ? difference.t() : difference, rank);
    if (f.pair.a.size(0) != rank) {  // a smaller matrix has not that many
      out.config.rank_pattern[path] = f.pair.a.size(0);
      out.config.alpha_pattern[path] = static_cast<double>(f.pair.a.size(0));
    }
    report.residual = std::max(report.residual, f.residual);
    out.pairs[path] = f.pair;
    modules.insert(last_part(path));
    ++report.modules;
  }
  out.config.target_modules.assign(modules.begin(), modules.end());
  out.config.modules_to_save.assign(saved.begin(), saved.end());
  return out;
}

}  // namespace mneme
