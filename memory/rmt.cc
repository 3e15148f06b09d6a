#include "memory/rmt.h"

#include <algorithm>

#include "base/error.h"
#include "memory/initial_vectors.h"

namespace mneme {

Rmt::Rmt(const Decoder& decoder, const RmtOptions& options)
    : SegmentMemory(decoder, options.segment), options_(options) {
  if (options.memory_tokens < 0) throw Error(Kind::usage, "rmt.memory_tokens must not be negative");
  if (options.segment < std::max<int64_t>(1, options.memory_tokens)) {
    throw Error(Kind::usage,
                "rmt.segment is " + std::to_string(options.segment) + " tokens of text for " +
                    std::to_string(options.memory_tokens) + " memory vectors",
                "use a segment at least as long as its memory (rmt.segment, rmt.memory_tokens)");
  }
}

std::vector<Piece> Rmt::before(const Row& row) const {
  if (options_.memory_tokens == 0) return {};
  const auto own = row.tensors.find("memory");
  return {{own == row.tensors.end() ? memory_ : own->second, {}}};
}

// The memory that leaves a segment takes its place at once; nothing of the open segment reads it again.
void Rmt::written(Row& row, const Tensor& vectors) const { row.tensors["memory"] = vectors; }

void Rmt::close(const Step& step, State& state) const {
  SegmentMemory::close(step, state);
  if (!step.trace || options_.memory_tokens == 0) return;
  std::vector<int64_t> which;
  std::vector<Tensor> memories;
  for (const Span& s : step.spans) {
    if (!s.closes) continue;
    which.push_back(s.row);
    memories.push_back(state.rows[static_cast<size_t>(s.row)].tensors.at("memory"));
  }
  if (!which.empty()) {
    step.trace->put("memory", which, state.rows[static_cast<size_t>(which[0])].segment, at::stack(memories));
  }
}

int64_t Rmt::bound() const {
  const auto vector = static_cast<int64_t>(sizeof(double)) * decoder_.config().embed_width;
  return SegmentMemory::bound() + 2 * options_.memory_tokens * slot_bytes() + options_.memory_tokens * vector;
}

std::vector<Parameter> Rmt::parameters() {
  return {{"memory_cell.memory",
           nullptr,
           &memory_,
           {options_.memory_tokens, decoder_.config().embed_width},
           false}};
}

void Rmt::initialise(uint64_t seed) { memory_ = initial_vectors(decoder_, options_.memory_tokens, seed, 0); }

void Rmt::to(at::Device device, at::ScalarType type) { memory_ = memory_.detach().to(device, type); }

}  // namespace mneme
