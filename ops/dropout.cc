#include "ops/dropout.h"

#include "ops/dropout_impl.h"
#include "ops/elementwise.h"

namespace mneme {
namespace {

constexpr int64_t kChunk = 4096;  // elements whose mask is in hand at a time

// f(row, first element of the row, count) over all rows, in chunks that never cross a row.
template <class F>
void over_chunks(int64_t rows, int64_t width, const F& f) {
  const int64_t chunks = (width + kChunk - 1) / kChunk;
  at::parallel_for(0, rows * chunks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t first = n % chunks * kChunk;
      f(n / chunks, first, std::min(kChunk, width - first));
    }
  });
}

void keep_of(const Site& row, int64_t first, double p, uint8_t* keep, int64_t count) {
  Site site = row;
  site.position += static_cast<uint64_t>(first);
  fill_keep(site, 1 - p, keep, static_cast<size_t>(count));
}

double scale_of(double p) { return p < 1 ? 1 / (1 - p) : 0; }

}  // namespace

Tensor dropout_mask(at::IntArrayRef sizes, double p, const std::vector<Site>& sites) {
  const Tensor out = at::empty(sizes, at::kFloat);
  const auto rows = static_cast<int64_t>(sites.size());
  const int64_t width = rows ? out.numel() / rows : 0;
  const auto scale = static_cast<float>(scale_of(p));
  float* mask = out.data_ptr<float>();
  over_chunks(rows, width, [&](int64_t row, int64_t first, int64_t count) {
    uint8_t keep[kChunk];
    keep_of(sites[static_cast<size_t>(row)], first, p, keep, count);
    for (int64_t i = 0; i < count; ++i) mask[row * width + first + i] = keep[i] ? scale : 0;
  });
  return out;
}

Tensor dropout_forward(const Tensor& x_in, double p, const std::vector<Site>& sites) {
  if (!kernel_type(x_in)) {
    return (x_in * dropout_mask(x_in.sizes(), p, sites).to(x_in.device(), arithmetic_type(x_in)))
        .to(x_in.scalar_type());
  }
  const Tensor x = x_in.contiguous(), y = at::empty_like(x);
  const auto rows = static_cast<int64_t>(sites.size());
  const int64_t width = rows ? x.numel() / rows : 0, bytes = x.element_size();
  const auto scale = static_cast<float>(scale_of(p));
  const char* from = static_cast<const char*>(x.data_ptr());
  char* into = static_cast<char*>(y.data_ptr());
  const auto kernel = elementwise_kernels().masked[type_index(x)];
  over_chunks(rows, width, [&](int64_t row, int64_t first, int64_t count) {
    uint8_t keep[kChunk];
    keep_of(sites[static_cast<size_t>(row)], first, p, keep, count);
    const int64_t offset = (row * width + first) * bytes;
    kernel(from + offset, keep, scale, into + offset, count);
  });
  return y;
}

}  // namespace mneme
