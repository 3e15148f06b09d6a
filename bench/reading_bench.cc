// How fast models read, and whether reading stays as fast and as small however long the text.
//
//   reading_bench long [--tokens N]   a small model reads N tokens (1,000,000) with each method: bytes of the
//                                     state, resident memory, time of a token in the second and the last
//                                     tenth (medians), and both states again, in turns on copies: what the
//                                     machine does meanwhile falls out of that ratio
//   reading_bench rate                the 125M shape in bf16: prompt and decoding of the plain decoder, and
//                                     reading in segments of 512 with RMT and HMT beside it, in turns within
//                                     one run; each beside the rate that its additional slots leave at best
//   reading_bench plain               the first two lines of it alone
//   reading_bench model DIR           writes that model, with random weights, as a folder in bf16
//   ... [--threads N] [--only METHOD]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/progress.h"
#include "memory/model_folder.h"
#include "memory/read.h"
#include "tensor/threads.h"

namespace {

using namespace mneme;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double read_some(const Model& model, State& state, int64_t tokens) {
  Batch batch;
  batch.ids = at::randint(3, 300, {1, tokens}, at::kLong);
  const double start = now();
  read(model, batch, state);
  return now() - start;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

MemoryOptions method(const std::string& name, int64_t segment) {
  MemoryOptions o;
  o.method = name;
  o.window.window = segment;
  o.sink = {4, segment};
  o.rmt = {segment, 8};
  o.hmt.segment = segment;
  o.hmt.sensory = segment / 8;
  o.hmt.recall_width = 64;
  o.landmark.segment = segment;
  o.landmark.blocks = 4096;
  return o;
}

// Time of a piece behind `late` over that behind `early`, each the least of some, in turns.
double in_turns(const Model& model, const State& early, const State& late, int64_t piece) {
  constexpr int kTurns = 40;
  constexpr int64_t kCopied = 64 << 20;  // states beyond are too large to copy in turns
  if (late.bytes() > kCopied) return NAN;
  double least[2] = {1e30, 1e30};
  for (int i = 0; i < kTurns; ++i) {
    for (const int which : {i % 2, 1 - i % 2}) {
      State copy = (which ? late : early).compact();
      read_some(model, copy, piece);  // pages of its own
      least[which] = std::min(least[which], read_some(model, copy, piece));
    }
  }
  return least[1] / least[0];
}

void long_text(int64_t tokens, const std::string& only) {
  constexpr int64_t kPiece = 2048;
  const int64_t pieces = std::max<int64_t>(20, tokens / kPiece), tenth = pieces / 10;
  std::printf("%-10s %12s %12s %12s %14s %14s %8s %9s\n", "method", "state 20%", "state end", "bound",
              "resident +", "us a token", "end/20%", "in turns");
  for (const char* name : {"window", "sink", "rmt", "hmt", "landmark"}) {
    if (!only.empty() && only != name) continue;
    const Model model = fresh_model("configs/models/passkey-llama.json", method(name, 256), 1);
    State state = model.initial(1), at_20;
    std::vector<double> early, late;
    uint64_t early_resident = 0;
    for (int64_t i = 0; i < pieces; ++i) {
      const double seconds = read_some(model, state, kPiece);
      if (i >= tenth && i < 2 * tenth) early.push_back(seconds);
      if (i >= pieces - tenth) late.push_back(seconds);
      if (i != 2 * tenth) continue;
      at_20 = state;
      early_resident = resident_bytes();
    }
    const auto grown = static_cast<int64_t>(resident_bytes()) - static_cast<int64_t>(early_resident);
    std::printf("%-10s %12lld %12lld %12lld %14lld %14.1f %8.3f %9.3f\n", name,
                static_cast<long long>(at_20.rows[0].bytes()), static_cast<long long>(state.rows[0].bytes()),
                static_cast<long long>(model.memory->bound()), static_cast<long long>(grown),
                median(late) / kPiece * 1e6, median(late) / median(early),
                in_turns(model, at_20, state, kPiece));
    std::fflush(stdout);
  }
}

Model large(const MemoryOptions& memory) {
  Model model = fresh_model("configs/models/bench-125m.json", memory, 1);
  model.decoder->to(at::kCPU, at::kBFloat16, at::kBFloat16);
  model.memory->to(at::kCPU, at::kBFloat16);
  return model;
}

constexpr int64_t kSegment = 512, kSegments = 8;

// Tokens a second, with the logits behind the last of them.
double rate(const Model& model, int64_t tokens, bool parallel = true) {
  Batch batch;
  batch.ids = at::randint(3, 300, {1, tokens}, at::kLong);
  State state = model.initial(1);
  const double start = now();
  ReadOptions options;
  options.parallel = parallel;
  const Reading r = read(model, batch, state, options);
  model.decoder->logits(r.hidden.slice(1, tokens - 1));
  return static_cast<double>(tokens) / (now() - start);
}

// One token at a time behind 16 others: tokens a second over `count` of them.
double decoding(const Model& model, int64_t count) {
  State state = model.initial(1);
  read_some(model, state, 16);
  Batch one;
  one.ids = at::full({1, 1}, 5, at::kLong);
  const double start = now();
  for (int64_t t = 0; t < count; ++t) model.decoder->logits(read(model, one, state).hidden);
  return static_cast<double>(count) / (now() - start);
}

// Bytes that a token reads: every weight but the table of embeddings, of which it takes a row.
double weight_bytes(const Model& model) {
  int64_t weights = 0;
  for (const Parameter& p : model.parameters()) {
    if (p.name != "embedding") weights += p.value().numel() * 2;
  }
  return static_cast<double>(weights);
}

void print_plain(const Model& plain, double prompt, double decode) {
  std::printf("plain decoder, prompt of 512     %8.0f tokens/s\n", prompt);
  std::printf("plain decoder, one at a time     %8.1f tokens/s   %.1f GB/s of weights\n", decode,
              decode * weight_bytes(plain) * 1e-9);
}

// Multiplications of a pass over so many slots, without embedding and head: matrices, scores and mixing.
double work(const ModelConfig& c, int64_t slots) {
  const auto n = static_cast<double>(slots), width = static_cast<double>(c.width),
             heads = static_cast<double>(c.heads * c.head_width),
             groups = static_cast<double>(c.kv_heads * c.head_width), inner = static_cast<double>(c.inner);
  const double matrices = width * (2 * heads + 2 * groups) + 3 * width * inner, seen = (n + 1) / 2;
  return static_cast<double>(c.layers) * n * (matrices + 2 * heads * seen);
}

// The most of the plain prompt's rate that the method's additional slots leave, if all slots were as fast.
double most(const Model& model) {
  const ModelConfig& c = model.decoder->config();
  double all = 0;
  for (int64_t i = 0; i < kSegments; ++i) {
    if (model.options.method == "rmt") all += work(c, kSegment + 2 * model.options.rmt.memory_tokens);
    if (model.options.method != "hmt") continue;
    all += work(c, kSegment + 2 + (i ? model.options.hmt.sensory : 0));
    if (i) all += work(c, kSegment / 2 + 2);  // the summary; the first segment recalls nothing
  }
  return all > 0 ? static_cast<double>(kSegments) * work(c, kSegment) / all : 1;
}

void plain_rates() {
  const Model plain = large({});
  double prompt = 0, decode = 0;
  for (int i = 0; i < 6; ++i) {
    prompt = std::max(prompt, rate(plain, 512));
    decode = std::max(decode, decoding(plain, 24));
  }
  print_plain(plain, prompt, decode);
}

void rates() {
  const Model plain = large({}), rmt = large(method("rmt", kSegment)), hmt = large(method("hmt", kSegment)),
              segments = large([] {
                MemoryOptions o;
                o.method = "segments";
                o.segments.segment = kSegment;
                return o;
              }());
  constexpr int64_t kText = kSegments * kSegment;
  double prompt = 0, decode = 0, with_rmt = 0, with_hmt = 0, with_none = 0, serial = 0;
  for (int i = 0; i < 6; ++i) {
    prompt = std::max(prompt, rate(plain, kSegment));
    with_none = std::max(with_none, rate(segments, kText));
    with_rmt = std::max(with_rmt, rate(rmt, kText));
    with_hmt = std::max(with_hmt, rate(hmt, kText));
    serial = std::max(serial, rate(hmt, kText, /*parallel=*/false));
    decode = std::max(decode, decoding(plain, 24));
  }
  print_plain(plain, prompt, decode);
  const auto print = [&](const char* name, double speed, double limit) {
    std::printf("%-32s %8.0f tokens/s   %.2f of the prompt's, %.2f at most: %.2f of that\n", name, speed,
                speed / prompt, limit, speed / prompt / limit);
  };
  print("segments of 512", with_none, 1);
  print("rmt, segments of 512", with_rmt, most(rmt));
  print("hmt, segments of 512", with_hmt, most(hmt));
  print("hmt, one summary at a time", serial, most(hmt));
}

void write_model(const std::string& folder) {
  const Model model = large({});
  save_model(model, folder);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t tokens = 1000000;
  int threads = 0;
  std::string only;
  std::string what = argc > 1 ? argv[1] : "";
  std::string folder;
  for (int i = 2; i < argc; ++i) {
    if (argv[i][0] != '-') folder = argv[i];
    if (i + 1 == argc || argv[i][0] != '-') continue;
    if (!std::strcmp(argv[i], "--tokens")) tokens = std::atoll(argv[i + 1]);
    if (!std::strcmp(argv[i], "--threads")) threads = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--only")) only = argv[i + 1];
    ++i;
  }
  const bool known =
      what == "long" || what == "rate" || what == "plain" || (what == "model" && !folder.empty());
  if (!known) {
    std::fprintf(
        stderr,
        "usage: reading_bench long|rate|plain|model DIR [--tokens N] [--threads N] [--only METHOD]\n");
    return 2;
  }
  set_threads(threads);
  const at::NoGradGuard no_grad;
  if (what == "long") {
    long_text(tokens, only);
  } else if (what == "plain") {
    plain_rates();
  } else if (what == "model") {
    write_model(folder);
  } else {
    rates();
  }
}
