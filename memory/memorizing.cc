#include "memory/memorizing.h"

#include <cmath>

#include "base/error.h"

namespace mneme {
namespace {

// Keys of the open segment wait here until it closes and they join the bank.
constexpr const char* kWaiting = "waiting";
constexpr const char* kBank = "bank";
constexpr int64_t kPageSlots = 128;

Tensor unit(const Tensor& x) { return x / x.norm(2, -1, true).clamp_min(1e-6); }

}  // namespace

Memorizing::Memorizing(const Decoder& decoder, const MemorizingOptions& options)
    : SegmentMemory(decoder, options.segment), options_(options) {
  const int64_t layers = decoder.config().layers;
  if (options_.layer < 0) options_.layer = std::min(layers - 1, 3 * layers / 4);
  if (options.segment <= 0 || options.bank < 0 || options.neighbours <= 0 || options_.layer >= layers) {
    throw Error(
        Kind::usage,
        "memorizing: expected a positive segment and neighbours, a bank of at least 0, and a layer below " +
            std::to_string(layers));
  }
}

Tensor Memorizing::recall(const Row& row, const Tensor& q) const {
  auto [k, v] = row.caches.at(kBank).dense(0);  // [N, G, K]
  const int64_t heads = q.size(1), groups = k.size(1), repeat = heads / groups, count = q.size(0);
  const int64_t found = std::min(options_.neighbours, k.size(0));
  const Tensor queries =
      unit(q).view({count, groups, repeat, q.size(2)}).permute({1, 2, 0, 3});  // [G, R, T, K]
  const Tensor keys = k.permute({1, 2, 0}).unsqueeze(1);                       // [G, 1, K, N]
  const Tensor scores = at::matmul(queries, keys);                             // [G, R, T, N]
  const auto [best, index] = scores.topk(found, -1);
  const double scale = std::sqrt(static_cast<double>(q.size(2)));
  const Tensor weights = (best * scale).softmax(-1, at::kFloat).to(q.scalar_type());  // [G, R, T, n]
  const Tensor values = v.permute({1, 0, 2});                                         // [G, N, K]
  const Tensor base = (at::arange(groups, index.options()) * v.size(0)).view({groups, 1, 1, 1});
  const Tensor picked = values.reshape({-1, v.size(2)}).index_select(0, (index + base).reshape(-1));
  const Tensor read =
      (weights.unsqueeze(-1) * picked.view({groups, repeat, count, found, v.size(2)})).sum(-2);
  return read.permute({2, 0, 1, 3}).reshape({count, heads, q.size(2)});
}

Tensor Memorizing::attend(Pass& pass, const std::vector<Row*>& rows, int64_t layer, const Tensor& q,
                          const Tensor& k, const Tensor& v) const {
  const Tensor local = pass.attend_joint(layer, q, k, v);
  if (layer != options_.layer || options_.bank == 0) return local;
  std::vector<Tensor> lines;
  const Tensor gate = gate_.sigmoid().to(q.scalar_type()).view({1, -1, 1});
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto i = static_cast<int64_t>(r);
    const int64_t n = pass.counts()[r];
    Row& row = *rows[r];
    {
      const at::NoGradGuard constants;
      const Tensor key = unit(k[i].narrow(0, 0, n).detach()), value = v[i].narrow(0, 0, n).detach();
      KvCache& waiting = row.caches.try_emplace(kWaiting, kPageSlots).first->second;
      waiting.reserve(n, {1, k.size(2), k.size(3), k.options()});
      waiting.write(0, key, value);
      waiting.commit();
    }
    const auto bank = row.caches.find(kBank);
    if (bank == row.caches.end() || bank->second.empty()) {
      lines.push_back(local[i]);
      continue;
    }
    const Tensor found = recall(row, q[i]);
    lines.push_back(gate * found + (1 - gate) * local[i]);
  }
  return at::stack(lines);
}

void Memorizing::close(const Step& step, State& state) const {
  SegmentMemory::close(step, state);
  for (const Span& s : step.spans) {
    if (!s.closes || options_.bank == 0) continue;
    Row& row = state.rows[static_cast<size_t>(s.row)];
    const auto waiting = row.caches.find(kWaiting);
    if (waiting == row.caches.end()) continue;
    KvCache& bank = row.caches.try_emplace(kBank, kPageSlots).first->second;
    bank.join(waiting->second);
    bank.drop_front(std::max<int64_t>(0, bank.size() - options_.bank));
    row.caches.erase(kWaiting);
  }
}

int64_t Memorizing::bound() const {
  const int64_t layers = decoder_.config().layers, segments = options_.bank / segment_ + 2;
  const int64_t slots = options_.bank + segment_ + (segments + 2) * kPageSlots;
  return SegmentMemory::bound() + slots * (slot_bytes() / layers) + 1024;
}

std::vector<Parameter> Memorizing::parameters() {
  return {{"memorizing.gate", nullptr, &gate_, {decoder_.config().heads}, false}};
}

void Memorizing::initialise(uint64_t) { gate_ = at::zeros({decoder_.config().heads}, at::kFloat); }

void Memorizing::to(at::Device device, at::ScalarType type) { gate_ = gate_.detach().to(device, type); }

}  // namespace mneme
