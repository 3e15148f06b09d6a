#include "memory/skeleton.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace mneme {

Skeleton::Skeleton(const Decoder& decoder, const SkeletonOptions& options)
    : SegmentMemory(decoder, options.segment), options_(options) {
  if (options.segment < 1) throw Error(Kind::usage, "skeleton.segment must be positive");
}

// What a segment reads stands in its row's tensors: a first segment has nothing yet.
std::vector<Piece> Skeleton::before(const Row& row) const {
  const auto carried = row.tensors.find("carried");
  if (carried == row.tensors.end()) return {};
  return {{carried->second, {}}};
}

// A segment may come in many calls, the last of them without tokens: the row remembers its last vector.
Tensor Skeleton::extend(const Step& step, State& state) const {
  const Tensor hidden = SegmentMemory::extend(step, state);
  for (size_t i = 0; options_.carry && i < step.spans.size(); ++i) {
    const Span& s = step.spans[i];
    Row& row = state.rows[static_cast<size_t>(s.row)];
    if (s.count > 0) row.tensors["last"] = hidden[static_cast<int64_t>(i)].narrow(0, s.count - 1, 1);
    const auto last = row.tensors.find("last");
    if (s.closes && last != row.tensors.end()) row.tensors["carried"] = last->second.matmul(map_);
  }
  return hidden;
}

int64_t Skeleton::bound() const {
  const auto vector = static_cast<int64_t>(sizeof(double)) * decoder_.config().embed_width;
  return SegmentMemory::bound() + slot_bytes() + 2 * vector;
}

std::vector<Parameter> Skeleton::parameters() {
  const int64_t width = decoder_.config().embed_width;
  return {{"skeleton.map", nullptr, &map_, {width, width}, true}};
}

void Skeleton::initialise(uint64_t seed) {
  const int64_t width = decoder_.config().embed_width;
  map_ = at::empty({width, width});
  fill_normal({.seed = seed, .layer = 0xfffe, .draw = Draw::init}, map_.data_ptr<float>(),
              static_cast<size_t>(map_.numel()), 0, 1 / std::sqrt(static_cast<float>(width)));
}

void Skeleton::to(at::Device device, at::ScalarType type) { map_ = map_.detach().to(device, type); }

const MethodRow& skeleton_row() {
  static const MethodRow row = {
      "skeleton", "a segment's last vector before the next one",
      [](const Decoder& d, const MemoryOptions& o) -> std::unique_ptr<Memory> {
        return std::make_unique<Skeleton>(d, SkeletonOptions{o.rmt.segment, o.rmt.memory_tokens > 0});
      },
      [](MemoryOptions o) {
        o.rmt.memory_tokens = 0;
        return o;
      },
      [](const MemoryOptions& o) {
        MemoryOptions segments;
        segments.method = "segments";
        segments.segments.segment = o.rmt.segment;
        return segments;
      }};
  return row;
}

}  // namespace mneme
