#include "ops/landmark_layout.h"

#include <algorithm>

namespace mneme::landmark {
namespace {

struct Packer {
  Layout out;
  int64_t at() const { return static_cast<int64_t>(out.key.size()); }
  void fill_to(int64_t size) { out.key.resize(size, -1); }

  void open_chunk() {
    fill_to(static_cast<int64_t>(out.chunk.size()) * kChunk);
    const auto next = static_cast<int32_t>(out.block.size());
    out.chunk.push_back({0, next, next, false});
  }

  void add(const std::vector<int32_t>& tokens, int32_t gate) {
    const auto length = static_cast<int64_t>(tokens.size());
    const bool parts = length > kChunk;
    const int64_t room = out.chunk.empty() ? 0 : static_cast<int64_t>(out.chunk.size()) * kChunk - at();
    if (out.chunk.empty() || parts || out.chunk.back().part || length > room) open_chunk();
    const auto index = static_cast<int32_t>(out.block.size());
    const auto begin = static_cast<int32_t>(at());
    out.block.push_back({begin, static_cast<int32_t>(begin + length), gate});
    for (int64_t done = 0;; done += kChunk) {
      const int64_t part = std::min(length - done, kChunk);
      out.key.insert(out.key.end(), tokens.begin() + done, tokens.begin() + done + part);
      Layout::Chunk& chunk = out.chunk.back();
      chunk.used = static_cast<int32_t>(at() - (static_cast<int64_t>(out.chunk.size()) - 1) * kChunk);
      chunk.last = index + 1;
      chunk.part = parts;
      if (done + kChunk >= length) break;
      out.chunk.push_back({0, index, index + 1, true});
    }
    fill_to((at() + 1) / 2 * 2);
  }
};

}  // namespace

Layout make_layout(const bool* is_landmark, const bool* mask, int64_t keys, int64_t queries, Rule rule) {
  const bool grouped = rule == Rule::grouped;
  auto visible = [&](int64_t j) { return !mask || mask[j]; };
  auto ordinary = [&](int64_t j) { return rule == Rule::plain || !is_landmark[j]; };

  Packer packer;
  std::vector<int32_t> tokens, blocks_of(keys),
      place(keys);  // place: tokens of its block up to the key, itself included
  int32_t block = 0;
  int64_t in_block = 0;  // ordinary tokens, visible or not
  for (int64_t j = 0; j < keys; ++j) {
    blocks_of[j] = block;
    if (ordinary(j)) {
      ++in_block;
      if (visible(j)) tokens.push_back(static_cast<int32_t>(j));
    }
    place[j] = static_cast<int32_t>(tokens.size());
    if (!grouped || !is_landmark[j]) continue;
    // A block that is all padding has no gate; one that is empty has.
    const bool gate = visible(j) && (in_block == 0 || !tokens.empty());
    packer.add(tokens, gate ? static_cast<int32_t>(packer.out.gate.size()) : -1);
    if (gate) {
      packer.out.gate.push_back(static_cast<int32_t>(j));
      packer.out.column.push_back(block);
    }
    tokens.clear();
    in_block = 0;
    ++block;
  }
  packer.add(tokens, -1);
  packer.fill_to(static_cast<int64_t>(packer.out.chunk.size()) * kChunk);

  Layout& out = packer.out;
  std::vector<int32_t> gates_before(out.block.size() + 1, 0);
  for (size_t b = 0; b < out.block.size(); ++b)
    gates_before[b + 1] = gates_before[b] + (out.block[b].gate >= 0);
  int32_t own = 0, seen = 0;  // of the keys so far: the block of the last visible one, and what is seen of it
  for (int64_t j = 0; j < keys; ++j) {
    if (visible(j)) {
      own = blocks_of[j];
      seen = place[j] - (rule == Rule::plain && is_landmark[j]);  // hidden while it is the last one
    }
    if (j < keys - queries) continue;
    out.own.push_back(own);
    out.begin.push_back(out.block[own].begin);
    out.end.push_back(out.block[own].begin + seen);
    out.gates.push_back(gates_before[own]);
  }
  return std::move(packer.out);
}

}  // namespace mneme::landmark
