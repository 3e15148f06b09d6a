// What llama.cpp and Hugging Face call the same tensor, and how their layouts differ. One row an
// architecture; the names that llama.cpp gives OPT do not exist, since it has no OPT.
//
// Layouts: Llama's rotary pairs neighbours (2i, 2i+1) in GGUF and halves (i, i + K/2) in Hugging Face files,
// so rows of the query and key projections are permuted per head; GPT-2's Conv1D weights are transposed;
// GPT-NeoX interleaves query, key and value per head, GGUF stacks them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace mneme {

enum class GgufLayout { same, rotary_query, rotary_key, transposed, interleaved_qkv };

struct GgufRow {
  const char* hf;  // without ".weight" or ".bias"; {} stands for the layer's number
  const char* gguf;
  GgufLayout layout = GgufLayout::same;
};

struct GgufArchitecture {
  std::string name;                      // general.architecture
  std::vector<std::string> model_types;  // of config.json
  std::vector<GgufRow> rows;
  std::vector<std::string> buffers;  // ends of Hugging Face names that hold no parameters
  std::string root;                  // prefix that some checkpoints of the bare model leave out
};

// Throw Error{input} that lists what is supported.
const GgufArchitecture& gguf_architecture(const std::string& name);
const GgufArchitecture& gguf_architecture_of(const std::string& model_type);

struct GgufName {
  std::string name;
  GgufLayout layout;
};
std::optional<GgufName> gguf_name(const GgufArchitecture& architecture, const std::string& hf);
std::optional<GgufName> hf_name(const GgufArchitecture& architecture, const std::string& gguf);
bool is_buffer(const GgufArchitecture& architecture, const std::string& hf);

struct GgufHeads {
  int64_t query = 0, key = 0;
};
// Tensors of one or two dimensions. The shape changes only when transposed.
Tensor to_gguf_layout(const Tensor& t, GgufLayout layout, const GgufHeads& heads);
Tensor to_hf_layout(const Tensor& t, GgufLayout layout, const GgufHeads& heads);

}  // namespace mneme
