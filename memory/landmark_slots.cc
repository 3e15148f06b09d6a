#include "memory/landmark_slots.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

int64_t number(const Row& row, const char* name) {
  const auto found = row.numbers.find(name);
  return found == row.numbers.end() ? 0 : found->second;
}

int64_t kept_blocks(const Row& row, int64_t width) {
  const auto blocks = row.caches.find("blocks");
  return blocks == row.caches.end() ? 0 : blocks->second.size() / width;
}

void check_continues(const Row& row) {
  if (number(row, "trained")) {
    throw Error(Kind::usage, "landmark: this text was read in training, which keeps nothing of it",
                "training reads a text in one call; give the whole text at once");
  }
  if (row.working.requires_grad()) {
    throw Error(Kind::usage, "landmark: no gradient crosses the end of a window",
                "train on texts of one window, or read without gradients");
  }
  if (!row.hidden.empty() || number(row, "missing")) {
    throw Error(Kind::usage, "landmark: a text with padding, or that began inside a block, has one window");
  }
}

constexpr const char* kParts = "landmarks.";

// The parts of the landmarks, in order.
std::vector<std::pair<std::string, Tensor>> parts_of(const Row& row) {
  std::vector<std::pair<std::string, Tensor>> out;
  for (auto at = row.tensors.lower_bound(kParts); at != row.tensors.end() && at->first.rfind(kParts, 0) == 0;
       ++at) {
    out.emplace_back(*at);
  }
  return out;
}

std::string part_name(int64_t number) {
  const std::string digits = std::to_string(number);
  return kParts + std::string(12 - digits.size(), '0') + digits;  // so that names sort as numbers do
}

// Appends landmarks [L, G, n, K] and forgets whole parts in front of the last `kept`.
void keep_landmarks(Row& row, const Tensor& fresh, int64_t kept) {
  auto parts = parts_of(row);
  int64_t next = parts.empty() ? 0 : std::stoll(parts.back().first.substr(std::string(kParts).size()));
  const int64_t count = fresh.size(2);
  for (int64_t done = 0; done < count;) {
    const bool grows = !parts.empty() && parts.back().second.size(2) < kLandmarkPart;
    const int64_t size = grows ? parts.back().second.size(2) : 0;
    const int64_t take = std::min(kLandmarkPart - size, count - done);
    Tensor part = fresh.narrow(2, done, take).contiguous();
    if (grows) {
      part = at::cat({parts.back().second, part}, 2);
      parts.back().second = part;
    } else {
      if (!parts.empty()) ++next;
      parts.emplace_back(part_name(next), part);
    }
    row.tensors[parts.back().first] = part;
    done += take;
  }
  int64_t total = 0;
  for (size_t i = parts.size(); i-- > 0;) {
    if (total >= kept) row.tensors.erase(parts[i].first);
    total += parts[i].second.size(2);
  }
}

// Moves blocks that are not in the file there: those of a loaded state, which are the oldest.
void move_to_file(KvCache& blocks, PageFile& file) {
  const int64_t layers = blocks.layers();
  for (int64_t i = 0; i < blocks.page_count() && !file.holds(blocks.page(i, 0).k); ++i) {
    std::vector<Tensor> k, v;
    for (int64_t l = 0; l < layers; ++l) {
      const KeyPage page = blocks.page(i, l);
      k.push_back(page.k);
      v.push_back(page.v);
    }
    const Tensor held = file.put(at::stack({at::stack(k), at::stack(v)}));  // [2, L, G, f + 1, K]
    blocks.replace_page(i, held[0].unbind(), held[1].unbind());
  }
}

}  // namespace

KeptLandmarks::KeptLandmarks(const Row& row, int64_t kept) {
  const auto parts = parts_of(row);
  int64_t total = 0;
  for (const auto& [name, part] : parts) total += part.size(2);
  MNEME_CHECK(total >= kept, "fewer landmarks than blocks");
  for (const auto& [name, part] : parts) {
    const int64_t drop = std::min(total - kept, part.size(2));  // of blocks that are no longer kept
    total -= drop;
    if (drop < part.size(2)) parts_.push_back(part.narrow(2, drop, part.size(2) - drop));
  }
}

std::vector<Tensor> KeptLandmarks::of(int64_t layer) const {
  std::vector<Tensor> out;
  for (const Tensor& part : parts_) out.push_back(part[layer]);
  return out;
}

LandmarkSlots::LandmarkSlots(const LandmarkMemoryOptions& o, const Row& row)
    : width_(o.block + 1),
      lead_(o.miss ? 1 : 0),
      missing_(number(row, "missing")),
      closed_(number(row, "closed")),
      kept_(kept_blocks(row, width_)),
      read_(std::min(o.retrieve, kept_)),
      retrieve_(o.retrieve),
      parity_(o.parity_offbyone) {}

int64_t LandmarkSlots::base() const { return std::min(closed_, (parity_ ? retrieve_ : read_) + 1) * width_; }

Tensor turned(const Decoder& decoder, const Tensor& x, const std::vector<int64_t>& by) {
  if (decoder.config().position != PositionKind::rotary) return x;
  const Tensor positions = at::tensor(by, at::kLong).unsqueeze(1).expand({x.size(0), x.size(1)}).contiguous();
  return rotate(x, decoder.rotary().at(positions, x.options()));
}

bool keep_closed_blocks(const Decoder& decoder, const LandmarkMemoryOptions& options, Row& row,
                        PageFile* file) {
  if (number(row, "trained") || !row.working.empty()) check_continues(row);
  const LandmarkSlots before(options, row);
  const int64_t lead = before.lead(), width = before.width(), size = row.working.size() - lead;
  const int64_t count = size / width, tail = size % width;
  if (row.working.empty() || count == 0) return false;
  const at::NoGradGuard no_grad;
  const int64_t layers = row.working.layers();
  // Only the last of them, should there be more than are ever kept.
  const int64_t most = options.blocks > 0 ? std::min(count, options.blocks) : count, skip = count - most;
  std::vector<Tensor> pages, marks;  // [2, L, G, f + 1, K] a block; [G, n, K] a layer
  std::vector<int64_t> back;
  for (int64_t b = skip; b < count; ++b) back.push_back(-(before.base() + b * width));
  std::vector<std::pair<Tensor, Tensor>> slots;
  for (int64_t l = 0; l < layers; ++l) {
    slots.push_back(row.working.dense(l));
    const auto& [k, v] = slots.back();
    const std::vector<int64_t> shape = {most, width, k.size(1), k.size(2)};
    const int64_t first = lead + skip * width;
    const Tensor keys = turned(decoder, k.narrow(0, first, most * width).reshape(shape), back);
    const Tensor values = v.narrow(0, first, most * width).reshape(shape);
    for (int64_t b = 0; b < most; ++b) {
      if (l == 0) {
        const std::vector<int64_t> page = {2, layers, k.size(1), width, k.size(2)};
        pages.push_back(file ? file->take(page, k.options()) : at::empty(page, k.options()));
      }
      pages[static_cast<size_t>(b)][0][l].copy_(keys[b].transpose(0, 1));
      pages[static_cast<size_t>(b)][1][l].copy_(values[b].transpose(0, 1));
    }
    marks.push_back(keys.select(1, width - 1).transpose(0, 1));
  }
  KvCache& blocks = row.caches.try_emplace("blocks", width).first->second;
  if (file) move_to_file(blocks, *file);
  for (const Tensor& page : pages) blocks.push_page(page[0].unbind(), page[1].unbind());
  const int64_t surplus = options.blocks > 0 ? blocks.size() / width - options.blocks : 0;
  if (surplus > 0) blocks.drop_front(surplus * width);
  keep_landmarks(row, at::stack(marks), blocks.size() / width);
  row.numbers["closed"] = before.closed() + count;

  const int64_t by = LandmarkSlots(options, row).base() - (before.base() + count * width);
  row.working.clear();
  const KvCache::Shape shape{layers, slots[0].first.size(1), slots[0].first.size(2),
                             slots[0].first.options()};
  row.working.reserve(lead + tail, shape);
  for (int64_t l = 0; l < layers && lead + tail > 0; ++l) {
    const auto& [k, v] = slots[static_cast<size_t>(l)];
    const auto rest = [&](const Tensor& t) { return t.narrow(0, t.size(0) - tail, tail); };
    const Tensor moved = tail ? turned(decoder, rest(k).unsqueeze(0), {by})[0] : rest(k);
    row.working.write(l, at::cat({k.narrow(0, 0, lead), moved}), at::cat({v.narrow(0, 0, lead), rest(v)}));
  }
  row.working.commit();
  return true;
}

int64_t block_bytes(const Decoder& decoder, const LandmarkMemoryOptions& options) {
  const ModelConfig& c = decoder.config();
  return 2 * c.layers * c.kv_heads * c.head_width * (options.block + 1) *
         static_cast<int64_t>(at::elementSize(decoder.dtype()));
}

}  // namespace mneme
