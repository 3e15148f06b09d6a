#include "memory/state_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "model/lora.h"

namespace mneme {
namespace {

using Json = nlohmann::json;
constexpr const char* kFormat = "mneme-state-3";
constexpr int64_t kMostRows = 1 << 20;
constexpr int64_t kMostSlots = int64_t{1} << 40;

class Hash {
 public:
  Hash() : state_(XXH64_createState()) { XXH64_reset(state_, 0); }
  ~Hash() { XXH64_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void add(const std::string& s) { XXH64_update(state_, s.data(), s.size()); }
  void add(const Tensor& t) {
    const Tensor plain = t.detach().to(at::kCPU).contiguous();
    add(describe(plain));
    if (plain.nbytes() > 0) XXH64_update(state_, plain.data_ptr(), plain.nbytes());
  }
  std::string hex() const {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(XXH64_digest(state_)));
    return out;
  }

 private:
  XXH64_state_t* state_;
};

// In the order of names, whatever their order in the file.
std::string content_hash(NamedTensors tensors, const std::string& rows, const std::string& note) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Hash hash;
  hash.add(rows);
  hash.add(note);
  for (const auto& [name, t] : tensors) {
    hash.add(name);
    hash.add(t);
  }
  return hash.hex();
}

Tensor list(const std::vector<int64_t>& v) { return at::tensor(v, at::kLong); }

Json put_cache(const KvCache& cache, const std::string& at, NamedTensors& out) {
  const KvCache::Layout layout = cache.layout();
  for (int64_t l = 0; l < cache.layers() && !cache.empty(); ++l) {
    auto [k, v] = cache.dense(l);
    out.emplace_back(at + ".k." + std::to_string(l), k.detach().contiguous());
    out.emplace_back(at + ".v." + std::to_string(l), v.detach().contiguous());
  }
  return {{"page_slots", layout.page_slots},
          {"begin", layout.begin},
          {"counts", layout.counts},
          {"layers", cache.empty() ? 0 : cache.layers()}};
}

Json put_row(const Row& row, const std::string& at, NamedTensors& out) {
  Json j = {
      {"position", row.position}, {"phase", row.phase}, {"segment", row.segment}, {"numbers", row.numbers}};
  out.emplace_back(at + ".previous", list(row.previous));
  out.emplace_back(at + ".open", list(row.open));
  if (!row.hidden.empty()) {
    out.emplace_back(at + ".hidden", list({row.hidden.begin(), row.hidden.end()}));
  }
  j["working"] = put_cache(row.working, at + ".working", out);
  j["tensors"] = Json::array();
  for (const auto& [name, t] : row.tensors) {
    j["tensors"].push_back(name);
    out.emplace_back(at + ".tensor." + name, t.detach().contiguous());
  }
  j["caches"] = Json::object();
  for (const auto& [name, c] : row.caches) j["caches"][name] = put_cache(c, at + ".cache." + name, out);
  return j;
}

std::map<std::string, std::string> parts_of(const std::string& fingerprint) {
  std::map<std::string, std::string> out;
  std::istringstream words(fingerprint);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals != std::string::npos) out[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return out;
}

// What of two fingerprints differs, in words.
std::string difference(const std::string& saved, const std::string& here) {
  const std::map<std::string, std::string> a = parts_of(saved), b = parts_of(here);
  const std::pair<const char*, const char*> names[] = {
      {"model", "another architecture or size"},
      {"options", "another memory method, or other options of it"},
      {"type", "another type of numbers"},
      {"weights", "other weights"},
      {"more", "another tokenizer"}};
  std::string out;
  for (const auto& [key, words] : names) {
    const auto x = a.find(key), y = b.find(key);
    if (x == a.end() || y == b.end()) return "'" + saved + "', here '" + here + "'";
    if (x->second != y->second) {
      out += (out.empty() ? "" : "; ") + std::string(words);
      if (key == std::string("type")) out += " (saved " + x->second + ", here " + y->second + ")";
    }
  }
  return out;
}

class Loader {
 public:
  explicit Loader(const std::string& path) : file_(SafetensorsFile::open(path)), where_(path) {}

  StateFile load(const std::string& fingerprint) {
    const std::string format = meta("format");
    if (format != kFormat)
      refuse("it has the format '" + format + "', expected '" + kFormat + "'",
             "save it again with this version");
    if (!fingerprint.empty() && meta("fingerprint") != fingerprint) {
      refuse("it belongs to another model: " + difference(meta("fingerprint"), fingerprint),
             "open it with the model and options that wrote it");
    }
    const std::string rows = meta("rows");
    NamedTensors all;
    for (const std::string& name : file_.names()) all.emplace_back(name, file_.tensor(name));
    if (content_hash(all, rows, meta("note")) != meta("checksum"))
      refuse("its contents do not match its checksum", "it was damaged; use a copy");
    const Json parsed = parse_json(rows, where_ + ": rows");
    if (!parsed.is_array() || parsed.size() > static_cast<size_t>(kMostRows))
      refuse("its list of rows makes no sense");
    State state;
    for (size_t r = 0; r < parsed.size(); ++r)
      state.rows.push_back(row(parsed[r], "row" + std::to_string(r)));
    return {std::move(state), meta("fingerprint"), meta("note")};
  }

 private:
  [[noreturn]] void refuse(const std::string& why, const std::string& hint = {}) const {
    throw Error(Kind::input, where_ + ": this state file cannot be used: " + why, hint);
  }
  std::string meta(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end())
      refuse("it has no '" + key + "'", "expected a file that mneme saved as a state");
    return found->second;
  }
  Tensor tensor(const std::string& name) const {
    if (!file_.contains(name)) refuse("'" + name + "' is missing");
    const Tensor t = file_.tensor(name).clone();  // the mapping is read-only and the file may be replaced
    if (t.is_floating_point() && !t.isfinite().all().item<bool>())
      refuse("'" + name + "' holds values that are not finite");
    return t;
  }
  std::vector<int64_t> ids(const std::string& name) const {
    const Tensor t = tensor(name);
    if (t.dim() != 1 || t.scalar_type() != at::kLong) refuse("'" + name + "' is no list of integers");
    return {t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel()};
  }

  KvCache cache(const JsonReader& j, const std::string& at) const {
    KvCache::Layout layout;
    layout.page_slots = j.integer_in("page_slots", 1, 1 << 24);
    layout.begin = j.integer_in("begin", 0, kMostSlots);
    layout.counts = j.integers("counts");
    const int64_t layers = j.integer_in("layers", 0, 1 << 16);
    int64_t total = -layout.begin;
    for (int64_t c : layout.counts) {
      if (c < 1 || c > kMostSlots) refuse("the pages of '" + at + "' make no sense");
      total += c;
    }
    if (layout.counts.empty() || layers == 0 || total <= 0 || layout.begin >= layout.counts[0]) {
      if (total > 0) refuse("the pages of '" + at + "' make no sense");
      return KvCache(layout.page_slots);
    }
    std::vector<Tensor> k, v;
    for (int64_t l = 0; l < layers; ++l) {
      k.push_back(tensor(at + ".k." + std::to_string(l)));
      v.push_back(tensor(at + ".v." + std::to_string(l)));
      const bool fits = k.back().dim() == 3 && k.back().sizes() == v.back().sizes() &&
                        k.back().sizes() == k[0].sizes() && k.back().size(0) == total &&
                        k.back().scalar_type() == k[0].scalar_type() &&
                        v.back().scalar_type() == k[0].scalar_type();
      if (!fits)
        refuse("the keys and values of '" + at + "' are " + describe(k.back()) + " and " +
               describe(v.back()) + " for " + std::to_string(total) + " slots");
    }
    return KvCache::restore(layout, k, v);
  }

  Row row(const Json& json, const std::string& at) const {
    const JsonReader j(json, where_ + ": " + at);
    Row r;
    r.position = j.integer_in("position", 0, kMostSlots);
    r.phase = j.integer_in("phase", 0, kMostSlots);
    r.segment = j.integer_in("segment", 0, kMostSlots);
    const JsonReader numbers = j.object("numbers");
    for (const auto& [name, value] : numbers.json().items()) r.numbers[name] = numbers.integer(name);
    r.previous = ids(at + ".previous");
    r.open = ids(at + ".open");
    if (file_.contains(at + ".hidden")) {
      for (int64_t h : ids(at + ".hidden")) r.hidden.push_back(h != 0);
    }
    r.working = cache(j.object("working"), at + ".working");
    for (const std::string& name : j.strings("tensors")) r.tensors[name] = tensor(at + ".tensor." + name);
    const JsonReader caches = j.object("caches");
    for (const auto& [name, value] : caches.json().items()) {
      r.caches.insert_or_assign(name, cache(caches.object(name), at + ".cache." + name));
    }
    return r;
  }

  SafetensorsFile file_;
  std::string where_;
};

}  // namespace

std::string fingerprint(const Model& model, const std::string& more) {
  const auto hashed = [](const std::string& text) {
    Hash hash;
    hash.add(text);
    return hash.hex();
  };
  // Options of other methods do not matter, nor what later versions add to them.
  const Json all = options_json(model.options);
  const std::string& method = model.options.method;
  const std::string options = method + (all.contains(method) ? all.at(method).dump() : "");
  Hash weights;
  std::vector<Parameter> parameters = model.parameters();
  for (Parameter& p : lora_parameters(*model.decoder)) parameters.push_back(std::move(p));
  for (const Parameter& p : parameters) {
    weights.add(p.name);
    if (p.defined()) weights.add(p.value());
  }
  return "model=" + hashed(model.decoder->config().original.dump()) + " options=" + hashed(options) +
         " type=" + dtype_name(model.decoder->dtype()) + " weights=" + weights.hex() +
         " more=" + hashed(more);
}

void save_state(const State& state, const std::string& fingerprint, const std::string& path,
                const std::string& note) {
  NamedTensors tensors;
  Json rows = Json::array();
  for (int64_t r = 0; r < state.size(); ++r) {
    rows.push_back(put_row(state.rows[static_cast<size_t>(r)], "row" + std::to_string(r), tensors));
  }
  const std::string text = rows.dump();
  write_safetensors(path, tensors,
                    {{"format", kFormat},
                     {"fingerprint", fingerprint},
                     {"rows", text},
                     {"note", note},
                     {"checksum", content_hash(tensors, text, note)}});
}

StateFile read_state_file(const std::string& path, const std::string& fingerprint) {
  return Loader(path).load(fingerprint);
}

State load_state(const std::string& path, const std::string& fingerprint) {
  return Loader(path).load(fingerprint).state;
}

}  // namespace mneme
