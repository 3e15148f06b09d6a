// A training step with landmarks against a plain one on the same text tokens, in turns within one run: the
// forward pass, the loss and the backward pass of a small rotary model. And how much memory stays resident
// while a text twenty times the budget of kept blocks is read.
//
//   landmark_train_bench [--threads N] [--rounds N] [--type bf16|fp32] [--layers L] [--width D] [--heads H]
//                        [--history TOKENS] (0: none)
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "memory/read.h"
#include "model/architectures.h"
#include "ops/cpu.h"
#include "ops/cross_entropy.h"
#include "tensor/threads.h"

namespace {

using namespace mneme;

struct Settings {
  int64_t layers = 4, width = 512, heads = 8, rounds = 3, history = 0;
  at::ScalarType type = at::kBFloat16;
};
constexpr int64_t kVocab = 2048;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Model make(const Settings& s, const MemoryOptions& memory) {
  const nlohmann::json config = {
      {"model_type", "landmark_gpt"}, {"vocab_size", kVocab}, {"n_embd", s.width},
      {"n_layer", s.layers},          {"n_head", s.heads},    {"n_positions", 8192}};
  Model m;
  m.decoder = std::make_unique<Decoder>(parse_model_config(config));
  m.decoder->initialise(1);
  m.decoder->to(at::kCPU, at::kFloat, s.type);
  m.options = memory;
  m.memory = make_memory(*m.decoder, memory);
  m.memory->initialise(1);
  return m;
}

Tensor random_ids(int64_t count) { return at::randint(0, kVocab, {1, count}, at::kLong); }

double step_seconds(const Model& model, const Tensor& ids) {
  const double start = now();
  Batch batch;
  batch.ids = ids.narrow(1, 0, ids.size(1) - 1).contiguous();
  const Draws draws;
  ReadOptions options;
  options.draws = &draws;
  State state = model.initial(1);
  const Tensor hidden = read(model, batch, state, options).hidden;
  head_cross_entropy(hidden.reshape({-1, hidden.size(2)}), model.decoder->head(), model.decoder->head_bias(),
                     ids.narrow(1, 1, ids.size(1) - 1).reshape(-1), false)
      .loss.sum()
      .backward();
  const double seconds = now() - start;
  for (const Parameter& p : model.parameters()) p.value().mutable_grad() = Tensor();
  return seconds;
}

void compare(const Settings& s, int64_t T) {
  MemoryOptions landmark;
  landmark.method = "landmark";
  const Model with = make(s, landmark), plain = make(s, {});
  for (const Model* m : {&with, &plain}) {
    for (const Parameter& p : m->parameters()) p.value().set_requires_grad(true);
  }
  const Tensor ids = random_ids(T + 1);
  double best[2] = {1e30, 1e30};
  for (int64_t i = 0; i <= s.rounds; ++i) {
    const double a = step_seconds(with, ids), b = step_seconds(plain, ids);
    if (i == 0) continue;  // buffers and packed weights are made
    best[0] = std::min(best[0], a);
    best[1] = std::min(best[1], b);
  }
  std::printf("  T %5ld   landmarks %9.1f ms, %6.0f tok/s   plain %9.1f ms, %6.0f tok/s   ratio %.3f\n", T,
              best[0] * 1e3, static_cast<double>(T) / best[0], best[1] * 1e3,
              static_cast<double>(T) / best[1], best[0] / best[1]);
}

// MiB of the process in memory: all, and what is no file.
std::pair<double, double> resident() {
  std::ifstream status("/proc/self/status");
  std::pair<double, double> out;
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) out.first = std::atof(line.c_str() + 6) / 1024;
    if (line.rfind("RssAnon:", 0) == 0) out.second = std::atof(line.c_str() + 8) / 1024;
  }
  return out;
}

void read_history(const Settings& s) {
  const at::NoGradGuard no_grad;
  MemoryOptions memory;
  memory.method = "landmark";
  memory.landmark.blocks = 0;
  const auto slot = 2 * s.layers * s.width * static_cast<int64_t>(at::elementSize(s.type));
  memory.landmark.resident = s.history * slot / 20;
  const Model model = make(s, memory);
  State state = model.initial(1);
  const auto before = resident();
  std::printf("  a text of %ld tokens, %.0f MiB of keys and values; budget %.0f MiB; %.0f MiB before\n",
              s.history, static_cast<double>(s.history * slot) / (1 << 20),
              static_cast<double>(memory.landmark.resident) / (1 << 20), before.first);
  const int64_t piece = std::max<int64_t>(250, s.history / 10 / 250 * 250);
  for (int64_t at = 0; at < s.history; at += piece) {
    const double start = now();
    Batch batch;
    batch.ids = random_ids(std::min(piece, s.history - at));
    read(model, batch, state);
    const auto [all, anonymous] = resident();
    std::printf("    %8ld tokens   resident %6.0f MiB, without files %6.0f   %6.0f tok/s\n",
                state.rows[0].position, all, anonymous,
                static_cast<double>(batch.ids.size(1)) / (now() - start));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  Settings s;
  int threads = 2;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--threads") threads = std::atoi(value.c_str());
    if (name == "--rounds") s.rounds = std::atol(value.c_str());
    if (name == "--type") s.type = parse_dtype(value);
    if (name == "--layers") s.layers = std::atol(value.c_str());
    if (name == "--width") s.width = std::atol(value.c_str());
    if (name == "--heads") s.heads = std::atol(value.c_str());
    if (name == "--history") s.history = std::atol(value.c_str());
  }
  set_threads(threads);
  std::printf("%s, %s, %d threads, %ld layers of %ld, %ld heads\n", cpu_level_name(cpu_level()).c_str(),
              dtype_name(s.type).c_str(), threads, s.layers, s.width, s.heads);
  if (s.history > 0) {
    read_history(s);
    return 0;
  }
  for (const int64_t T : {2048, 4096}) compare(s, T);
  return 0;
}
