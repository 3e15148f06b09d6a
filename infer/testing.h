// What the tests of this folder share: a tokenizer of bytes and a model that speaks it. Not part of the
// library.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.h"
#include "base/random.h"
#include "io/testing.h"
#include "memory/model_folder.h"
#include "text/byte_glyphs.h"
#include "text/tokenizer.h"

namespace mneme {

// Ids 0 to 255 are the bytes, 256 is "<end>".
inline std::shared_ptr<const Tokenizer> byte_tokenizer() {
  nlohmann::json vocab;
  for (int b = 0; b < 256; ++b) vocab[std::string(glyph_of_byte(static_cast<uint8_t>(b)))] = b;
  vocab["<end>"] = 256;
  return std::make_shared<const Tokenizer>(parse_gpt2_files(vocab.dump(), "#version: 0.2\n", "bytes"));
}

// Random weights that prefer printable ASCII, so that its text is text.
inline Model byte_model(const std::string& folder, const MemoryOptions& memory = {}) {
  nlohmann::json config = nlohmann::json::parse(read_file("testdata/models/tiny-llama.json"));
  config["vocab_size"] = 257;
  config["max_position_embeddings"] = 2048;
  const std::string path = join_path(folder, "byte-model.json");
  write_file(path, config.dump());
  Model m = fresh_model(path, memory, 9);
  uint64_t seed = 100;
  for (const Parameter& p : m.decoder->parameters()) {
    if (p.name.find("norm") != std::string::npos) continue;
    Tensor t = p.value().detach().clone();
    fill_normal(Site{.seed = seed++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()), 0, 0.4F);
    if (p.name == "head.weight") {
      t.narrow(0, 0, 32).zero_();
      t.narrow(0, 127, 130).zero_();
    }
    p.set(t);
  }
  m.decoder->refresh();
  return m;
}

}  // namespace mneme
