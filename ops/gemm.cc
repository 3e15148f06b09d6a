#include "ops/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/gemm_memory.h"

namespace mneme::gemm {
namespace {

const Bf16* bits(const Tensor& t) { return static_cast<const Bf16*>(t.data_ptr()); }

float widened_bias(Bf16 x) {
  const uint32_t word = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &word, sizeof out);
  return out;
}

}  // namespace

PackedMatrix::PackedMatrix(int64_t columns, int64_t depth)
    : columns_(columns),
      depth_(depth),
      panel_stride_(round_up(depth, kBlock) * kBlock),
      data_(allocate<Bf16>(packed_size(columns, depth))) {}

template <bool kByRows>
std::shared_ptr<const PackedMatrix> PackedMatrix::make(const Tensor& w) {
  MNEME_CHECK(w.dim() == 2 && w.device().is_cpu() &&
                  (w.scalar_type() == at::kBFloat16 || w.scalar_type() == at::kFloat),
              describe(w));
  const Tensor rows = w.detach().contiguous();
  const int64_t n = rows.size(kByRows ? 0 : 1), k = rows.size(kByRows ? 1 : 0), stride = rows.size(1);
  std::shared_ptr<PackedMatrix> packed(new PackedMatrix(n, k));
  const auto pack = [&](const auto* source) {
    if constexpr (kByRows) {
      pack_right_nk(source, stride, n, k, packed->data_.get());
    } else {
      pack_right_kn(source, stride, n, k, packed->data_.get());
    }
  };
  if (rows.scalar_type() == at::kBFloat16) {
    pack(bits(rows));
  } else {
    pack(rows.data_ptr<float>());
  }
  return packed;
}

std::shared_ptr<const PackedMatrix> PackedMatrix::of_rows(const Tensor& w) { return make<true>(w); }
std::shared_ptr<const PackedMatrix> PackedMatrix::of_columns(const Tensor& w) { return make<false>(w); }

Right PackedMatrix::right(int64_t first_column, int64_t first_depth) const {
  MNEME_CHECK(first_column % kBlock == 0 && first_depth % kBlock == 0);
  return {data_.get() + first_column / kBlock * panel_stride_ + first_depth * kBlock, panel_stride_};
}

void PackedMatrix::copy_row(int64_t column, Bf16* to) const {
  const int64_t n = column % kBlock;
  const Bf16* from = data_.get() + column / kBlock * panel_stride_ + n / 16 * (kStep / 2) + n % 16 * 2;
  for (int64_t k = 0; k < depth_; k += 2) {
    const Bf16* pair = from + k / kBlock * kStep + k % kBlock / 2 * kBlock;
    to[k] = pair[0];
    if (k + 1 < depth_) to[k + 1] = pair[1];
  }
}

Tensor PackedMatrix::unpack() const {
  Tensor out = at::empty({columns_, depth_}, at::kBFloat16);
  auto* to = static_cast<Bf16*>(out.data_ptr());
  at::parallel_for(0, columns_, 32, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) copy_row(n, to + n * depth_);
  });
  return out;
}

Tensor PackedMatrix::rows(const Tensor& ids) const {
  MNEME_CHECK(ids.dim() == 1 && ids.scalar_type() == at::kLong && ids.is_contiguous(), describe(ids));
  Tensor out = at::empty({ids.size(0), depth_}, at::kBFloat16);
  auto* to = static_cast<Bf16*>(out.data_ptr());
  const int64_t* id = ids.data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.size(0); ++i) {
    MNEME_CHECK(id[i] >= 0 && id[i] < columns_,
                "row " + std::to_string(id[i]) + " of " + std::to_string(columns_));
  }
  at::parallel_for(0, ids.size(0), 32, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copy_row(id[i], to + i * depth_);
  });
  return out;
}

Store::Store(const Tensor& out, const Tensor& bias, bool add)
    : kernel_(kernels()),
      out_(out.data_ptr()),
      stride_(out.stride(0)),
      bf16_(out.scalar_type() == at::kBFloat16),
      add_(add) {
  MNEME_CHECK(out.dim() == 2 && (out.stride(1) == 1 || out.size(1) <= 1) &&
                  !(add && (bf16_ || bias.defined())) && (bf16_ || out.scalar_type() == at::kFloat),
              describe(out));
  if (!bias.defined()) return;
  MNEME_CHECK(bias.dim() == 1 && bias.size(0) == out.size(1) && bias.is_contiguous(), describe(bias));
  if (bias.scalar_type() == at::kBFloat16) {
    bias_bf16_ = bits(bias);
  } else {
    bias_f32_ = bias.data_ptr<float>();
  }
}

void Store::take(const float* c, int64_t row, int64_t column, int64_t rows, int64_t columns, int) {
  float widened[kBlock];
  const float* bias = bias_f32_ ? bias_f32_ + column : nullptr;
  if (bias_bf16_) {
    for (int64_t n = 0; n < columns; ++n) widened[n] = widened_bias(bias_bf16_[column + n]);
    bias = widened;
  }
  const int64_t place = row * stride_ + column;
  if (bf16_) {
    kernel_.store_bf16(c, rows, columns, bias, static_cast<Bf16*>(out_) + place, stride_);
  } else if (add_) {
    kernel_.add_f32(c, rows, columns, static_cast<float*>(out_) + place, stride_);
  } else {
    kernel_.store_f32(c, rows, columns, bias, static_cast<float*>(out_) + place, stride_);
  }
}

Left left(const Tensor& a, bool transposed) {
  MNEME_CHECK(a.dim() == 2 && a.scalar_type() == at::kBFloat16 && (a.stride(1) == 1 || a.size(1) <= 1),
              describe(a));
  return {bits(a), a.stride(0), transposed};
}

Tensor product(const Tensor& x, const PackedMatrix& b, const Tensor& bias, at::ScalarType out) {
  MNEME_CHECK(x.dim() == 2 && x.size(1) == b.depth(),
              describe(x) + " against depth " + std::to_string(b.depth()));
  Tensor y = at::empty({x.size(0), b.columns()}, out);
  Store store(y, bias);
  multiply(x.size(0), b.columns(), b.depth(), left(x), b.right(), store);
  return y;
}

PackedRows::PackedRows(const Tensor& x) : depth_(x.size(0)), columns_(x.size(1)) {
  static thread_local Scratch scratch;
  Bf16* packed = scratch.get<Bf16>(packed_size(columns_, depth_));
  pack_right_kn(left(x).data, x.stride(0), columns_, depth_, packed);
  right_ = {packed, round_up(depth_, kBlock) * kBlock};
}

void PackedRows::transposed_product(const Tensor& dy, const Tensor& out, bool add) const {
  MNEME_CHECK(dy.dim() == 2 && dy.size(0) == depth_ && out.dim() == 2 && out.size(0) == dy.size(1) &&
                  out.size(1) == columns_ && out.scalar_type() == at::kFloat,
              describe(dy) + " into " + describe(out));
  Store store(out, {}, add);
  multiply(dy.size(1), columns_, depth_, left(dy, true), right_, store);
}

Tensor transposed_product(const Tensor& dy, const Tensor& x, const Tensor& into) {
  MNEME_CHECK(dy.dim() == 2 && x.dim() == 2 && dy.size(0) == x.size(0),
              describe(dy) + " against " + describe(x));
  const Tensor out = into.defined() ? into : at::empty({dy.size(1), x.size(1)}, at::kFloat);
  PackedRows(x).transposed_product(dy, out, into.defined());
  return out;
}

}  // namespace mneme::gemm
