#include "ops/landmark_few.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace mneme::landmark {
namespace {

// One token of one row, in the heads of one key head.
class FewRun {
 public:
  FewRun(const Call& call, int64_t b, int64_t g, Scratch& scratch)
      : call_(call),
        layout_(call.layout[b]),
        b_(b),
        g_(g),
        reader_({call.matrix, call.lane}, call.width, call.scale_log2, call.half, scratch),
        value_(scratch.take<float>(call.width)),
        sum_(scratch.take<float>(call.width * kFewLanes)) {}

  static size_t bytes(const Call& call) {
    return FewReader::bytes(call.width) + scratch_bytes<float>(call.width) +
           scratch_bytes<float>(call.width * kFewLanes);
  }

  void run(const Strided& out, float* lse) {
    const void* rows[kFewLanes];
    for (int64_t l = 0; l < call_.share; ++l) rows[l] = call_.q.at(b_, 0, head(l));
    reader_.queries(rows, call_.share);
    std::fill(sum_, sum_ + call_.width * kFewLanes, 0.0F);
    if (layout_.end[0] > layout_.begin[0]) {
      read(layout_.begin[0], layout_.end[0]);
      for (int64_t l = 0; l < call_.share; ++l) add(l, reader_.log_sum(l));
    }
    for (int32_t i = 0; i < layout_.own[0]; ++i) {
      const Block& block = layout_.block[i];
      if (block.gate < 0) continue;
      if (block.end > block.begin) read(block.begin, block.end);
      const void* landmark = call_.k.at(b_, layout_.gate[block.gate], g_);
      for (int64_t l = 0; l < call_.share; ++l) {
        const float score = call_.matrix->dot(rows[l], landmark, call_.width, call_.half) * call_.scale_log2;
        if (block.end > block.begin) {
          add(l, score);
        } else {  // what an empty block wins is lost
          std::fill(value_, value_ + call_.width, 0.0F);
          merge_[l].add(score, value_, call_.width, sum_ + l * call_.width);
        }
      }
    }
    for (int64_t l = 0; l < call_.share; ++l) {
      const Merge& m = merge_[l];
      lse[b_ * call_.heads + head(l)] =
          m.sum > 0 ? (m.top + std::log2(m.sum)) * kLn2 : -std::numeric_limits<float>::infinity();
      call_.matrix->write_row(const_cast<char*>(out.at(b_, 0, head(l))), sum_ + l * call_.width,
                              m.sum > 0 ? 1 / m.sum : 0, call_.width, call_.half);
    }
  }

 private:
  int64_t head(int64_t lane) const { return g_ * call_.share + lane; }

  // The softmax over places [begin, end) of a block; they are all keys but for fillers at its end.
  void read(int64_t begin, int64_t end) {
    k_.clear(), v_.clear();
    for (int64_t i = begin; i < end; ++i) {
      k_.push_back(call_.k.at(b_, layout_.key[i], g_));
      v_.push_back(call_.v.at(b_, layout_.key[i], g_));
    }
    reader_.start();
    reader_.read(k_.data(), v_.data(), end - begin);
  }

  void add(int64_t lane, float score) {
    reader_.mean(lane, value_);
    merge_[lane].add(score, value_, call_.width, sum_ + lane * call_.width);
  }

  const Call& call_;
  const Layout& layout_;
  const int64_t b_, g_;
  FewReader reader_;
  float *value_, *sum_;  // [width], [lanes, width]
  Merge merge_[kFewLanes];
  std::vector<const void*> k_, v_;
};

}  // namespace

FewReader::FewReader(const KernelChoice& kernels, int64_t width, float scale_log2, bool half,
                     Scratch& scratch)
    : kernels_(kernels),
      width_(width),
      words_(kernels.matrix->pairs ? rounded_up(width / 2, 16) : width),
      scale_log2_(scale_log2),
      half_(half),
      q_(scratch.take<uint32_t>(16 * words_)),
      score_(scratch.take<float>(kTileQueries * kScoreStride)),
      out_(scratch.take<float>(kTileQueries * width)) {}

size_t FewReader::bytes(int64_t width) {
  return scratch_bytes<uint32_t>(16 * width) + scratch_bytes<float>(kTileQueries * kScoreStride) +
         scratch_bytes<float>(kTileQueries * width);
}

void FewReader::queries(const void* const* rows, int64_t count) {
  count_ = count;
  kernels_.matrix->pack_rows(q_, words_, rows, count, width_, half_);
}

void FewReader::start() {
  std::fill(top_, top_ + kTileQueries, kLowest);
  std::fill(sum_, sum_ + count_ * 16, 0.0F);
  std::fill(out_, out_ + count_ * width_, 0.0F);
}

void FewReader::read(const void* const* k, const void* const* v, int64_t keys) {
  Sights sights;
  sights.queries = count_;
  for (int64_t first = 0; first < keys; first += kBlockKeys) {
    sights.keys = std::min(kBlockKeys, keys - first);
    kernels_.matrix->direct(
        {&sights, q_, k + first, v + first, width_, words_, width_, scale_log2_, score_, top_, sum_, out_},
        half_);
  }
}

float FewReader::total(int64_t lane) const {
  float total = 0;
  for (int64_t i = 0; i < 16; ++i) total += sum_[lane * 16 + i];
  return total;
}

float FewReader::log_sum(int64_t lane) const { return top_[lane] * scale_log2_ + std::log2(total(lane)); }

void FewReader::mean(int64_t lane, float* to) const {
  const float by = 1 / total(lane);
  for (int64_t d = 0; d < width_; ++d) to[d] = out_[lane * width_ + d] * by;
}

void Merge::add(float score, const float* value, int64_t width, float* to) {
  const float now = std::max(top, score), down = std::exp2(top - now), weight = std::exp2(score - now);
  for (int64_t d = 0; d < width; ++d) to[d] = to[d] * down + value[d] * weight;
  sum = sum * down + weight;
  top = now;
}

bool takes_few(const Call& call) {
  return call.queries == 1 && call.share <= kFewLanes && call.width % 32 == 0 && !call.miss() &&
         !call.gate_keep.defined() && call.options->dropout == 0;
}

void forward_few(const Call& call, const Strided& out, float* lse) {
  const int threads = at::get_num_threads();
  std::vector<Scratch>& scratch = thread_scratch(threads, FewRun::bytes(call));
#pragma omp parallel num_threads(threads)
  {
    call.matrix->begin();
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < call.rows * call.key_heads; ++i) {
      Scratch& mine = scratch[static_cast<size_t>(omp_get_thread_num())];
      mine.reset();
      FewRun(call, i / call.key_heads, i % call.key_heads, mine).run(out, lse);
    }
    call.matrix->end();
  }
}

}  // namespace mneme::landmark
