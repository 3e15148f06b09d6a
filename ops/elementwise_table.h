// The body of elementwise_{baseline,avx2,avx512}.cc: every kernel, and the table of them for one instruction
// set.
#pragma once

#include "ops/activation_body.h"
#include "ops/adamw_body.h"
#include "ops/dropout_body.h"
#include "ops/norm_body.h"
#include "ops/rotary_body.h"

namespace mneme {
namespace {

typedef uint16_t Bf;

constexpr ElementwiseKernels kTable{
    {{rms_forward<float, float>, rms_forward<float, Bf>}, {rms_forward<Bf, float>, rms_forward<Bf, Bf>}},
    {{rms_backward<float, float>, rms_backward<float, Bf>}, {rms_backward<Bf, float>, rms_backward<Bf, Bf>}},
    {{layer_forward<float, float>, layer_forward<float, Bf>},
     {layer_forward<Bf, float>, layer_forward<Bf, Bf>}},
    {{layer_backward<float, float>, layer_backward<float, Bf>},
     {layer_backward<Bf, float>, layer_backward<Bf, Bf>}},

    {{unary_forward<Relu, float>, unary_forward<Relu, Bf>},
     {unary_forward<Silu, float>, unary_forward<Silu, Bf>},
     {unary_forward<Gelu, float>, unary_forward<Gelu, Bf>},
     {unary_forward<GeluTanh, float>, unary_forward<GeluTanh, Bf>}},
    {{unary_backward<Relu, float>, unary_backward<Relu, Bf>},
     {unary_backward<Silu, float>, unary_backward<Silu, Bf>},
     {unary_backward<Gelu, float>, unary_backward<Gelu, Bf>},
     {unary_backward<GeluTanh, float>, unary_backward<GeluTanh, Bf>}},
    {swiglu_forward<float>, swiglu_forward<Bf>},
    {swiglu_backward<float>, swiglu_backward<Bf>},

    {rotate_half<float>, rotate_half<Bf>},
    {rotate_interleaved<float>, rotate_interleaved<Bf>},

    {masked<float>, masked<Bf>},

    {adamw<float>, adamw<Bf>},
    {sgd<float>, sgd<Bf>},
    {sum_of_squares<float>, sum_of_squares<Bf>},
    {scale<float>, scale<Bf>},
};

}  // namespace
}  // namespace mneme
