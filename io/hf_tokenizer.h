// The tokenizer inside a GGUF file as files of Hugging Face: the way back from io/gguf_vocab.h.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/gguf_metadata.h"

namespace mneme {

struct HfTokenizer {
  nlohmann::ordered_json tokenizer;  // tokenizer.json
  nlohmann::ordered_json config;     // tokenizer_config.json: special tokens and the chat template
};

// Byte-level BPE and SentencePiece-like BPE; Error{input} for the other kinds, which models that generate do
// not have, and for files without a tokenizer.
HfTokenizer hf_tokenizer(const GgufMetadata& metadata, const std::string& where);

}  // namespace mneme
