#include "ops/norm.h"

#include "ops/elementwise.h"
#include "ops/norm_impl.h"

namespace mneme {
namespace {

const void* shifted(const void* p, int64_t bytes) {
  return p ? static_cast<const char*>(p) + bytes : nullptr;
}
void* shifted(void* p, int64_t bytes) { return p ? static_cast<char*>(p) + bytes : nullptr; }

const void* data_or_null(const Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }
float* floats_or_null(const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; }

NormForward from_row(NormForward all, int64_t row, int64_t row_bytes) {
  all.x = shifted(all.x, row * row_bytes);
  all.delta = shifted(all.delta, row * row_bytes);
  all.sum = shifted(all.sum, row * row_bytes);
  all.y = shifted(all.y, row * row_bytes);
  if (all.mean) all.mean += row;
  if (all.rstd) all.rstd += row;
  return all;
}

NormBackward from_row(NormBackward all, int64_t row, int64_t row_bytes) {
  all.x = shifted(all.x, row * row_bytes);
  all.dy = shifted(all.dy, row * row_bytes);
  all.dsum = shifted(all.dsum, row * row_bytes);
  all.dx = shifted(all.dx, row * row_bytes);
  if (all.mean) all.mean += row;
  all.rstd += row;
  return all;
}

}  // namespace

Tensor rms_norm_reference(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor wide = x.to(arithmetic_type(x));
  const Tensor normed = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
  return (normed.to(x.scalar_type()) * weight).to(x.scalar_type());
}

Tensor layer_norm_reference(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor wide = x.to(arithmetic_type(x));
  const Tensor centred = wide - wide.mean(-1, /*keepdim=*/true);
  Tensor out = centred * at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + eps) * weight;
  if (bias.defined()) out = out + bias;
  return out.to(x.scalar_type());
}

NormResult norm_forward(NormKind kind, const Tensor& x_in, const Tensor& delta_in, const Tensor& weight_in,
                        const Tensor& bias_in, double eps, bool keep) {
  const Tensor x = x_in.contiguous(), weight = weight_in.contiguous();
  const Tensor delta = delta_in.defined() ? delta_in.contiguous() : delta_in;
  const Tensor bias = bias_in.defined() ? bias_in.contiguous() : bias_in;
  const NormShape shape{x.numel() / std::max<int64_t>(1, x.size(-1)), x.size(-1), static_cast<float>(eps)};
  NormResult out;
  out.y = at::empty_like(x);
  if (delta.defined()) out.sum = at::empty_like(x);
  if (keep) out.rstd = at::empty({shape.rows}, x.options().dtype(at::kFloat));
  if (keep && kind == NormKind::layer) out.mean = at::empty_like(out.rstd);
  const NormForward all{x.data_ptr(),
                        data_or_null(delta),
                        weight.data_ptr(),
                        data_or_null(bias),
                        delta.defined() ? out.sum.data_ptr() : nullptr,
                        out.y.data_ptr(),
                        floats_or_null(out.mean),
                        floats_or_null(out.rstd)};
  const ElementwiseKernels& table = elementwise_kernels();
  const auto kernel =
      (kind == NormKind::rms ? table.rms_forward : table.layer_forward)[type_index(x)][type_index(weight)];
  const int64_t row_bytes = shape.width * x.element_size();
  at::parallel_for(0, shape.rows, row_grain(shape.width), [&](int64_t begin, int64_t end) {
    kernel(from_row(all, begin, row_bytes), {end - begin, shape.width, shape.eps});
  });
  return out;
}

NormGradients norm_backward(NormKind kind, const NormSaved& saved, const Tensor& dy_in, const Tensor& dsum_in,
                            bool want_weight, bool want_bias) {
  const Tensor x = saved.x.contiguous(), weight = saved.weight.contiguous(), dy = dy_in.contiguous();
  const Tensor dsum = dsum_in.defined() ? dsum_in.contiguous() : dsum_in;
  const int64_t width = x.size(-1), rows = x.numel() / std::max<int64_t>(1, width);
  const bool sums = want_weight || want_bias;
  const Pieces pieces = fixed_pieces(rows, 32, sums ? 64 : 4096);
  NormGradients out;
  out.dx = at::empty_like(x);
  Tensor dweight, dbias;  // [pieces, D]
  if (sums) dweight = at::zeros({pieces.count, width}, x.options().dtype(at::kFloat));
  if (want_bias) dbias = at::zeros_like(dweight);
  const NormBackward all{x.data_ptr(),
                         dy.data_ptr(),
                         data_or_null(dsum),
                         weight.data_ptr(),
                         floats_or_null(saved.mean),
                         saved.rstd.data_ptr<float>(),
                         out.dx.data_ptr(),
                         floats_or_null(dweight),
                         floats_or_null(dbias)};
  const ElementwiseKernels& table = elementwise_kernels();
  const auto kernel =
      (kind == NormKind::rms ? table.rms_backward : table.layer_backward)[type_index(x)][type_index(weight)];
  const int64_t row_bytes = width * x.element_size();
  at::parallel_for(0, pieces.count, std::max<int64_t>(1, row_grain(width) / pieces.size),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t piece = begin; piece < end; ++piece) {
                       const int64_t first = std::min(rows, piece * pieces.size),
                                     last = std::min(rows, first + pieces.size);
                       NormBackward part = from_row(all, first, row_bytes);
                       if (part.dweight) part.dweight += piece * width;
                       if (part.dbias) part.dbias += piece * width;
                       kernel(part, {last - first, width, 0});
                     }
                   });
  if (want_weight) out.dweight = dweight.sum(0).to(weight.scalar_type());
  if (want_bias) out.dbias = dbias.sum(0).to(weight.scalar_type());
  return out;
}

}  // namespace mneme
