// The one function: a model with memory reads a text piece by piece, and what it remembers is a value.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "memory/read.h"

int main() {
  using namespace mneme;
  const auto config = nlohmann::json::parse(R"({"model_type": "llama", "vocab_size": 100, "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 64,
      "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})");
  Model model;
  model.options.method = "rmt";
  model.options.rmt.segment = 32;
  model.decoder = std::make_unique<Decoder>(parse_model_config(config));
  model.decoder->initialise(/*seed=*/1);
  model.memory = make_memory(*model.decoder, model.options);
  model.memory->initialise(/*seed=*/1);

  const at::NoGradGuard no_gradients;
  State state = model.initial(/*rows=*/1);
  for (int64_t piece = 0; piece < 4; ++piece) {
    Batch batch;
    batch.ids = at::arange(200 * piece, 200 * (piece + 1)).remainder(100).unsqueeze(0);  // [1, T]
    const Reading reading = read(model, batch, state);
    std::printf("%4lld tokens read, memory of %lld bytes, norm of the last hidden vector %.3f\n",
                static_cast<long long>(state.rows[0].position), static_cast<long long>(state.bytes()),
                reading.hidden[0][-1].norm().item<double>());
  }
}
