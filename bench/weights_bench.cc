// What opening and reading a model costs: a 125M model in bf16 (250 MB) as safetensors and as GGUF in Q8_0,
// made in a temporary folder. Seconds, page faults and resident memory of opening, of the tensors as handles,
// and of touching every byte, beside touching the bytes of a bare mapping of the same file, which is the
// floor.
//
//   weights_bench [FOLDER]        (FOLDER: where to put the files; default the system's temporary folder)
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>

#include "io/blob.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/weights.h"

namespace {

using mneme::LazyTensor;
using mneme::Tensor;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Usage {
  double seconds;
  long minor, major, resident_kb;
};
Usage usage() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return {now(), r.ru_minflt, r.ru_majflt, resident * (sysconf(_SC_PAGESIZE) / 1024)};
}

// The best of three by time: others may be using the machine.
void report(const char* what, const std::function<void()>& run, double bytes) {
  Usage best{1e9, 0, 0, 0};
  for (int i = 0; i < 3; ++i) {
    const Usage a = usage();
    run();
    const Usage b = usage();
    const Usage d{b.seconds - a.seconds, b.minor - a.minor, b.major - a.major, b.resident_kb - a.resident_kb};
    if (d.seconds < best.seconds) best = d;
  }
  std::printf("%-44s %9.3f ms %7ld faults %4ld major", what, best.seconds * 1e3, best.minor, best.major);
  if (bytes > 0) std::printf(" %7.2f GB/s", bytes / best.seconds / 1e9);
  std::printf(" %8.1f MB resident\n", static_cast<double>(best.resident_kb) / 1024);
}

// One load a cache line reaches every byte's line and every page.
uint64_t touch(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint64_t sum = 0;
  for (size_t i = 0; i < size; i += 64) sum += bytes[i];
  return sum;
}

std::vector<LazyTensor> model() {
  std::vector<LazyTensor> out;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    auto load = [shape] { return at::randn(shape, at::kFloat).to(at::kBFloat16); };
    out.push_back({name, at::kBFloat16, shape, load});
  };
  add("model.embed_tokens.weight", {32000, 768});
  add("lm_head.weight", {32000, 768});
  for (int i = 0; i < 12; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    for (const char* name : {"self_attn.q_proj", "self_attn.o_proj"})
      add(layer + name + ".weight", {768, 768});
    for (const char* name : {"self_attn.k_proj", "self_attn.v_proj"})
      add(layer + name + ".weight", {256, 768});
    for (const char* name : {"mlp.gate_proj", "mlp.up_proj"}) add(layer + name + ".weight", {2048, 768});
    add(layer + "mlp.down_proj.weight", {768, 2048});
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const fs::path folder = argc > 1 ? fs::path(argv[1]) : fs::temp_directory_path();
  const std::string path = folder / "weights_bench.safetensors", gguf = folder / "weights_bench.gguf";
  const std::vector<LazyTensor> tensors = model();
  std::vector<mneme::GgufTensor> quantised;
  for (const LazyTensor& t : tensors) quantised.push_back({t, mneme::GgmlType::q8_0});
  double start = now();
  mneme::write_safetensors(path, tensors);
  std::printf("random tensors and writing them: %.2f s\n", now() - start);
  mneme::write_gguf(gguf, {}, quantised);
  const auto bytes = static_cast<double>(fs::file_size(path));
  std::printf("%.1f MB in %zu tensors; the files are in the page cache\n", bytes / 1e6, tensors.size());

  uint64_t sum = 0;
  report(
      "map, touch every line (the floor)",
      [&] {
        const mneme::Blob blob = mneme::map_file(path);
        sum += touch(blob.data, blob.size);
      },
      bytes);
  report(
      "open", [&] { mneme::WeightSource::open(path); }, 0);
  report(
      "open, all tensors as handles",
      [&] {
        const auto source = mneme::WeightSource::open(path);
        for (const std::string& name : source.names()) source.tensor(name);
      },
      0);
  report(
      "open, all tensors, touch every line",
      [&] {
        const auto source = mneme::WeightSource::open(path);
        for (const std::string& name : source.names()) {
          const Tensor t = source.tensor(name);
          sum += touch(t.data_ptr(), t.nbytes());
        }
      },
      bytes);
  report(
      "copy to a new safetensors file",
      [&] {
        const auto source = mneme::WeightSource::open(path);
        std::vector<LazyTensor> lazy;
        for (const std::string& name : source.names()) lazy.push_back(source.lazy(name));
        mneme::write_safetensors(path + ".copy", lazy);
      },
      bytes);
  report(
      "GGUF Q8_0: open, dequantise to bf16",
      [&] {
        const auto file = mneme::GgufFile::open(gguf);
        for (const std::string& name : file.names()) sum += file.tensor(name, at::kBFloat16).numel();
      },
      static_cast<double>(fs::file_size(gguf)));
  for (const std::string& file : {path, path + ".copy", gguf}) fs::remove(file);
  return sum == 0 ? 1 : 0;
}
