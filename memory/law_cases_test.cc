#include "memory/law_cases.h"

#include <functional>

#include "base/random.h"
#include "memory/skeleton.h"
#include "model/architectures.h"

namespace mneme {
namespace {

constexpr int64_t kVocab = 29;

nlohmann::json config(bool llama) {
  if (llama) {
    return {{"model_type", "llama"},    {"vocab_size", kVocab},           {"hidden_size", 16},
            {"intermediate_size", 24},  {"num_hidden_layers", 2},         {"num_attention_heads", 4},
            {"num_key_value_heads", 2}, {"max_position_embeddings", 512}, {"tie_word_embeddings", false}};
  }
  return {{"model_type", "gpt2"}, {"vocab_size", kVocab}, {"n_embd", 16},
          {"n_layer", 2},         {"n_head", 4},          {"n_positions", 512}};
}

// Small enough that a text of 60 tokens crosses many segment ends.
MemoryOptions small(const std::string& method) {
  MemoryOptions o;
  o.method = method;
  o.segments.segment = 7;
  o.window.window = 9;
  o.sink = {3, 8};
  o.xl = {6, 10};
  o.memorizing.segment = 8;
  o.memorizing.bank = 24;
  o.memorizing.neighbours = 4;
  o.rmt = {7, 2};
  o.hmt.segment = 8;
  o.hmt.sensory = 3;
  o.hmt.recall_width = 6;
  o.hmt.memories = 4;
  o.landmark.block = 4;
  o.landmark.segment = 27;  // no multiple of the block: windows begin inside one
  o.landmark.retrieve = 2;
  o.landmark.blocks = 5;
  return o;
}

}  // namespace

std::vector<LawCase> law_cases() {
  std::vector<LawCase> cases;
  for (const MethodRow& row : method_table()) {
    for (bool llama : {false, true}) {
      cases.push_back({row.name + std::string(llama ? "/llama" : "/gpt2"), small(row.name), llama});
    }
  }
  for (bool llama : {false, true}) {
    LawCase c{std::string("skeleton") + (llama ? "/llama" : "/gpt2"), small("skeleton"), llama};
    c.row = &skeleton_row();
    cases.push_back(c);
  }
  for (const char* mode : {"stage1", "rmt"}) {
    LawCase c{std::string("hmt-") + mode + "/llama", small("hmt"), true};
    c.options.hmt.mode = mode;
    cases.push_back(c);
  }
  LawCase lookahead{"hmt-lookahead/gpt2", small("hmt"), false};
  lookahead.options.hmt.recall = "lookahead";
  cases.push_back(lookahead);
  LawCase dynamic{"hmt-dynamic/llama", small("hmt"), true};
  dynamic.options.hmt.reading = "dynamic";
  cases.push_back(dynamic);
  const auto landmark = [&](const char* name, const std::function<void(LandmarkMemoryOptions&)>& change) {
    LawCase c{name, small("landmark"), true};
    c.options.landmark.segment = 9;
    change(c.options.landmark);
    cases.push_back(c);
  };
  landmark("landmark-short/llama", [](LandmarkMemoryOptions& o) { o.blocks = 0; });
  landmark("landmark-file/llama", [](LandmarkMemoryOptions& o) { o.resident = 1; });
  landmark("landmark-heads/llama", [](LandmarkMemoryOptions& o) { o.select = "max_over_heads"; });
  landmark("landmark-tokens/llama", [](LandmarkMemoryOptions& o) { o.select = "max_over_tokens"; });
  landmark("landmark-miss/llama", [](LandmarkMemoryOptions& o) { o.miss = true; });
  landmark("landmark-predicts/llama", [](LandmarkMemoryOptions& o) { o.landmark_predicts = true; });
  landmark("landmark-loss/llama", [](LandmarkMemoryOptions& o) { o.landmark_loss = true; });
  landmark("landmark-alone/llama", [](LandmarkMemoryOptions& o) { o.retrieve = 0; });
  return cases;
}

Model law_model(const LawCase& c, at::ScalarType type) {
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(config(c.llama)));
  m.decoder->initialise(7);
  m.options = c.options;
  m.memory = c.row && c.options.method == c.row->name ? c.row->make(*m.decoder, c.options)
                                                      : make_memory(*m.decoder, c.options);
  m.memory->initialise(11);
  uint64_t index = 0;
  for (const Parameter& p : m.parameters()) {  // the usual deviation of 0.02 would hide the memory's part
    Tensor t = p.value().clone();
    if (p.name.find("norm") != std::string::npos) continue;
    fill_normal({.seed = 3, .row = index++}, t.data_ptr<float>(), static_cast<size_t>(t.numel()), 0, 0.3F);
    p.set(t);
  }
  m.decoder->to(at::kCPU, type, type);
  m.memory->to(at::kCPU, type);
  return m;
}

Tensor law_text(int64_t rows, int64_t tokens, uint64_t seed) {
  Random random({.seed = seed, .draw = Draw::task});
  Tensor ids = at::empty({rows, tokens}, at::kLong);
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data_ptr<int64_t>()[i] = static_cast<int64_t>(random.below(kVocab));
  return ids;
}

Tensor read_in_pieces(const Model& model, const Tensor& ids, const std::vector<int64_t>& pieces,
                      State& state) {
  std::vector<Tensor> parts;
  int64_t at = 0;
  for (int64_t n : pieces) {
    Batch batch;
    batch.ids = ids.narrow(1, at, n);
    parts.push_back(read(model, batch, state).hidden);
    at += n;
  }
  return at::cat(parts, 1);
}

}  // namespace mneme
