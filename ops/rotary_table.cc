#include <cmath>
#include <mutex>
#include <numbers>
#include <unordered_map>

#include "base/error.h"
#include "ops/rotary.h"

namespace mneme {
namespace {

constexpr int64_t kPage = 64;          // positions of a page: computing one takes about 0.1 ms
constexpr size_t kPagesAtMost = 1024;  // bounds the cache: 32 MB for R = 128 in fp32

// cos of the R/2 angles of each position of a page, then sin of them.
template <class T>
using Page = std::vector<T>;
template <class T>
using Pages = std::unordered_map<int64_t, Page<T>>;

int64_t page_of(int64_t position) {
  return position >= 0 ? position / kPage : -((-(position + 1)) / kPage) - 1;  // floor, without overflow
}

template <class T>
void fill(const std::vector<double>& frequencies, double position, T* cos, T* sin) {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = position * frequencies[i];
    cos[i] = static_cast<T>(std::cos(angle));
    sin[i] = static_cast<T>(std::sin(angle));
  }
}

void require(bool holds, const std::string& message) {
  if (!holds)
    throw Error(Kind::input, "rotary positions: " + message,
                "check rope_theta and rope_scaling in config.json");
}

void validate(const RotaryOptions& o) {
  require(o.width > 0 && o.width % 2 == 0,
          "the rotated width must be even and positive, not " + std::to_string(o.width));
  require(std::isfinite(o.theta) && o.theta > 0, "theta must be positive, not " + std::to_string(o.theta));
  if (o.scaling == RotaryScaling::none) return;
  require(std::isfinite(o.factor) && o.factor > 0,
          "factor must be positive, not " + std::to_string(o.factor));
  if (o.scaling == RotaryScaling::linear) return;
  require(o.original_length > 0,
          "the original length must be positive, not " + std::to_string(o.original_length));
  if (o.scaling == RotaryScaling::dynamic) {
    require(o.width > 2, "dynamic scaling needs a width above 2");
    require(o.factor >= 1, "dynamic scaling needs a factor of at least 1, not " + std::to_string(o.factor));
  } else {
    require(o.low_freq_factor > 0 && o.high_freq_factor > o.low_freq_factor,
            "llama3 scaling needs 0 < low_freq_factor < high_freq_factor, not " +
                std::to_string(o.low_freq_factor) + " and " + std::to_string(o.high_freq_factor));
  }
}

// Wavelengths beyond original / low are stretched by the factor, those below original / high are left, with a
// passage linear in 1 / wavelength between.
double llama3(const RotaryOptions& o, double frequency) {
  const double turns = static_cast<double>(o.original_length) * frequency / (2 * std::numbers::pi);
  if (turns < o.low_freq_factor) return frequency / o.factor;
  if (turns > o.high_freq_factor) return frequency;
  const double smooth = (turns - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  return (1 - smooth) * frequency / o.factor + smooth * frequency;
}

}  // namespace

struct RotaryTable::Cache {
  std::mutex mutex;
  Pages<float> narrow;
  Pages<double> wide;
  Pages<float>& pages(float) { return narrow; }
  Pages<double>& pages(double) { return wide; }
};

RotaryTable::RotaryTable(const RotaryOptions& options)
    : options_(options), cache_(std::make_shared<Cache>()) {
  validate(options);
  frequencies_ = frequencies();
}

std::vector<double> RotaryTable::frequencies(int64_t length) const {
  const RotaryOptions& o = options_;
  const auto width = static_cast<double>(o.width);
  double theta = o.theta;
  if (o.scaling == RotaryScaling::dynamic && length > o.original_length) {
    const double ratio = static_cast<double>(length) / static_cast<double>(o.original_length);
    theta *= std::pow(o.factor * ratio - (o.factor - 1), width / (width - 2));
  }
  std::vector<double> out;
  for (int64_t i = 0; i < o.width / 2; ++i) {
    double f = std::pow(theta, -2 * static_cast<double>(i) / width);
    if (o.scaling == RotaryScaling::linear) f /= o.factor;
    if (o.scaling == RotaryScaling::llama3) f = llama3(o, f);
    out.push_back(f);
  }
  return out;
}

// [2, N, R/2]: cos, then sin.
template <class T>
Tensor RotaryTable::angles(const std::vector<int64_t>& positions, int64_t length) const {
  const auto pairs = static_cast<size_t>(options_.width / 2), n = positions.size();
  const auto type = sizeof(T) == 8 ? at::kDouble : at::kFloat;
  Tensor out = at::empty({2, static_cast<int64_t>(n), static_cast<int64_t>(pairs)}, type);
  T* cos = out.data_ptr<T>();
  T* sin = cos + n * pairs;
  if (options_.scaling == RotaryScaling::dynamic && length > options_.original_length) {
    // These frequencies hold for this length only, so there is nothing to keep.
    const std::vector<double> stretched = frequencies(length);
    for (size_t i = 0; i < n; ++i)
      fill(stretched, static_cast<double>(positions[i]), cos + i * pairs, sin + i * pairs);
    return out;
  }
  const std::lock_guard lock(cache_->mutex);
  Pages<T>& pages = cache_->pages(T{});
  for (size_t i = 0; i < n; ++i) {
    const int64_t index = page_of(positions[i]), first = index * kPage;
    auto page = pages.find(index);
    if (page == pages.end()) {
      if (pages.size() >= kPagesAtMost) pages.clear();
      page = pages.emplace(index, Page<T>(2 * kPage * pairs)).first;
      for (int64_t j = 0; j < kPage; ++j) {
        T* row = page->second.data() + static_cast<size_t>(j) * 2 * pairs;
        fill(frequencies_, static_cast<double>(first + j), row, row + pairs);
      }
    }
    const T* row = page->second.data() + static_cast<size_t>(positions[i] - first) * 2 * pairs;
    std::copy(row, row + pairs, cos + i * pairs);
    std::copy(row + pairs, row + 2 * pairs, sin + i * pairs);
  }
  return out;
}

Rotation RotaryTable::rotation(const std::vector<int64_t>& positions, int64_t rows, int64_t count,
                               const at::TensorOptions& like, int64_t length) const {
  if (length == 0 && options_.scaling == RotaryScaling::dynamic) {
    for (const int64_t p : positions) length = std::max(length, p + 1);
  }
  const bool wide = like.dtype() == at::kDouble;
  const Tensor both =
      (wide ? angles<double>(positions, length) : angles<float>(positions, length)).to(like.device());
  const std::vector<int64_t> shape{rows, count, options_.width / 2};
  return {both[0].view(shape), both[1].view(shape), options_.interleaved};
}

Rotation RotaryTable::at(const Tensor& positions, const at::TensorOptions& like, int64_t length) const {
  MNEME_CHECK(positions.scalar_type() == at::kLong && (positions.dim() == 1 || positions.dim() == 2),
              describe(positions));
  const Tensor host = positions.to(at::kCPU).contiguous();
  const int64_t* p = host.data_ptr<int64_t>();
  return rotation({p, p + host.numel()}, host.dim() == 2 ? host.size(0) : 1, host.size(-1), like, length);
}

Rotation RotaryTable::run(const std::vector<int64_t>& starts, int64_t count, const at::TensorOptions& like,
                          int64_t length) const {
  MNEME_CHECK(count >= 0);
  std::vector<int64_t> positions;
  positions.reserve(starts.size() * static_cast<size_t>(count));
  for (const int64_t start : starts) {
    for (int64_t i = 0; i < count; ++i) positions.push_back(start + i);
  }
  return rotation(positions, static_cast<int64_t>(starts.size()), count, like, length);
}

}  // namespace mneme
