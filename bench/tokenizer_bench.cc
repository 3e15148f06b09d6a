// How fast texts become ids and ids texts, on one thread: MB/s of the best of several runs, for each
// tokenizer found, and for texts that are hard: one word of a megabyte, a megabyte of spaces, of Japanese.
//
//   tokenizer_bench TEXT TOKENIZER...         files or folders
//   tokenizer_bench --train SIZE TEXT...      seconds to train a byte-level BPE of SIZE pieces
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"

namespace {

// Of this thread, in processor time: everything here runs on one thread.
double now() {
  timespec t = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds of the best of several runs: others may be using the machine.
double best_seconds(const std::function<void()>& run) {
  double best = 1e30;
  const double end = now() + 1.0;
  for (int i = 0; i < 3 || (now() < end && i < 20); ++i) {
    const double start = now();
    run();
    best = std::min(best, now() - start);
  }
  return best;
}

std::string repeated(const std::string& unit, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += unit;
  return out;
}

// Letters without order and without a space.
std::string one_word(size_t bytes) {
  std::string out;
  uint32_t state = 1;
  while (out.size() < bytes) {
    state = state * 1664525u + 1013904223u;
    out += static_cast<char>('a' + (state >> 16) % 26);
  }
  return out;
}

void measure(const std::string& path, const std::string& book) {
  using namespace mneme;
  double start = now();
  const auto tokenizer = load_tokenizer(path);
  const double load = now() - start;
  const size_t mb = 1 << 20;
  const std::pair<const char*, std::string> texts[] = {
      {"book", book},
      {"word", one_word(mb)},
      {"a", std::string(mb, 'a')},
      {"spaces", std::string(mb, ' ')},
      {"japanese",
       repeated(
           "\xE5\x90\xBE\xE8\xBC\xA9\xE3\x81\xAF\xE7\x8C\xAB\xE3\x81\xA7\xE3\x81\x82\xE3\x82\x8B\xE3\x80\x82"
           "\xE5\x90\x8D\xE5\x89\x8D\xE3\x81\xAF\xE3\x81\xBE\xE3\x81\xA0\xE7\x84\xA1\xE3\x81\x84",
           mb)},
  };
  std::printf("%-60s load %4.0f ms  MB/s:", path.c_str(), load * 1e3);
  std::vector<int32_t> ids;
  for (const auto& [name, text] : texts) {
    const double seconds = best_seconds([&, &text = text] { ids = tokenizer->encode(text, false); });
    std::printf("  %s %.1f", name, static_cast<double>(text.size()) / 1e6 / seconds);
    std::fflush(stdout);
    if (std::strcmp(name, "book") != 0) continue;
    std::string back;
    const double decode = best_seconds([&] { back = tokenizer->decode(ids, false); });
    std::printf(" (decode %.1f)", static_cast<double>(back.size()) / 1e6 / decode);
  }
  std::printf("\n");
}

int train(int64_t size, int count, char** paths) {
  using namespace mneme;
  const double start = now();
  BpeTrainer trainer({size, {"<|endoftext|>"}, "", 2});
  double bytes = 0;
  for (int i = 0; i < count; ++i) {
    const std::string text = read_file(paths[i]);
    bytes += static_cast<double>(text.size());
    trainer.add(text);
  }
  const double words = now() - start;
  const TrainedBpe trained = trainer.train();
  std::printf("%.1f MB: words %.2f s, %zu merges %.2f s\n", bytes / 1e6, words, trained.merges.size(),
              now() - start - words);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc > 3 && std::strcmp(argv[1], "--train") == 0)
      return train(std::atoll(argv[2]), argc - 3, argv + 3);
    if (argc < 3) {
      std::fprintf(stderr, "usage: tokenizer_bench TEXT TOKENIZER... | --train SIZE TEXT...\n");
      return 2;
    }
    const std::string book = mneme::read_file(argv[1]);
    for (int i = 2; i < argc; ++i) measure(argv[i], book);
  } catch (const mneme::Error& e) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", e.what());
    return static_cast<int>(e.kind());
  }
  return 0;
}
