// The element types of GGUF that mneme reads and writes, and the two block formats among them: 32 elements
// with one fp16 scale. Q8_0: 32 signed bytes. Q4_0: 16 bytes, element i in the low half of byte i, element i
// + 16 in its high half, both offset by 8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/tensor.h"

namespace mneme {

enum class GgmlType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q8_0 = 8, bf16 = 30 };

constexpr int64_t kGgmlBlock = 32;

std::string ggml_type_name(uint32_t type);          // any type of the format: "Q4_K"; "type 99" if unknown
std::optional<GgmlType> ggml_type(uint32_t value);  // empty for those that mneme does not read
bool is_quantised(GgmlType type);
uint64_t ggml_bytes(GgmlType type, int64_t elements);      // of whole blocks
std::optional<at::ScalarType> plain_dtype(GgmlType type);  // of F32, F16, BF16

// `bytes` holds out.numel() elements, whole blocks. `out` is contiguous fp32, fp16 or bf16.
void dequantise(GgmlType type, const uint8_t* bytes, Tensor& out);
// Contiguous fp32 to Q8_0.
void quantise_q8_0(const Tensor& values, uint8_t* bytes);

}  // namespace mneme
