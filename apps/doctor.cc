// mneme doctor: what this machine offers, what of it mneme uses, and what is missing.
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/command.h"
#include "apps/versions.h"
#include "base/format.h"
#include "base/json.h"
#include "base/log.h"
#include "base/threads.h"
#include "ops/cpu.h"
#include "ops/linear.h"
#include "ops/peak.h"
#include "tensor/tensor.h"
#include "tensor/version.h"

namespace mneme {

extern const Command kDoctorCommand;

namespace {

using nlohmann::json;

struct DoctorOptions {
  CommonOptions common;
  bool measure = true;
  void visit(OptionVisitor& v) {
    v.field("measure", measure, "measure the peaks of arithmetic and memory (some ten seconds)");
    common.visit(v);
  }
};

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (const size_t colon = line.find(": ");
        line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

// The flags of /proc/cpuinfo that some kernel could use; the kernel names AMX there although a process must
// ask for it.
std::vector<std::string> cpu_features() {
  const std::vector<std::string> wanted = {
      "sse4_2",      "avx2",        "fma",      "f16c",     "avx512f",  "avx512bw", "avx512vl", "avx512_bf16",
      "avx512_fp16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd",    "sve"};
  std::ifstream file("/proc/cpuinfo");
  std::vector<std::string> found;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    line += ' ';
    for (const std::string& w : wanted) {
      if (line.find(" " + w + " ") != std::string::npos) found.push_back(w);
    }
    break;
  }
  return found;
}

json machine(int threads) {
  const int64_t devices = at::hasCUDA() ? static_cast<int64_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
  return {{"cpu", cpu_model()},
          {"features", cpu_features()},
          {"kernels", cpu_level_name(cpu_level())},
          {"cores", available_cores()},
          {"threads", threads},
          {"memory_bytes", static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE)},
          {"blas", loaded_blas()},
          {"blas_kernels", blas_kernels()},
          {"cuda_built", at::hasCUDA()},
          {"cuda_devices", devices}};
}

// Seconds of one call: the least of many, over a fifth of a second at least.
double least_seconds(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9, all = 0;
  for (int i = 0; i < 200 && (i < 5 || all < 0.2); ++i) {
    const auto start = Clock::now();
    call();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    all += seconds;
  }
  return best;
}

// y = x W^T over the matrices of a 125M model, 512 rows: FLOP/s of libtorch's products and of ours.
json gemm() {
  constexpr int64_t kRows = 512;
  const std::vector<std::pair<int64_t, int64_t>> shapes = {
      {768, 768}, {768, 2048}, {2048, 768}, {768, 32000}};
  json out = json::array();
  for (const auto& [in, width] : shapes) {
    const double flops = 2.0 * kRows * static_cast<double>(in) * static_cast<double>(width);
    const Tensor x = at::ones({kRows, in}), w = at::ones({width, in});
    const Tensor x16 = x.to(at::kBFloat16), w16 = w.to(at::kBFloat16);
    Weight plain(w), packed(w16);
    packed.pack();
    out.push_back({{"shape", {kRows, in, width}},
                   {"libtorch_fp32", flops / least_seconds([&, &x = x] { at::linear(x, w); })},
                   {"mneme_fp32", flops / least_seconds([&, &x = x] { linear(x, plain); })},
                   {"libtorch_bf16", flops / least_seconds([&] { at::linear(x16, w16); })},
                   {"mneme_bf16", flops / least_seconds([&] { linear(x16, packed); })}});
  }
  return out;
}

json measure() {
  log_info("doctor", "measuring (turn off with --no-measure)");
  const at::NoGradGuard no_gradients;
  const Peak bf16 = peak_bf16(), fp32 = peak_fp32();
  json out = {
      {"peak_fp32", {{"unit", fp32.unit}, {"flops", fp32.flops_per_second}}},
      {"peak_bf16", bf16.unit.empty() ? json() : json{{"unit", bf16.unit}, {"flops", bf16.flops_per_second}}},
      {"gemm", gemm()},
      {"read_bytes_per_second", read_bandwidth(int64_t{1} << 29)}};
  for (const char* kind : {"libtorch_fp32", "mneme_fp32", "libtorch_bf16", "mneme_bf16"}) {
    double best = 0;
    for (const json& row : out["gemm"]) best = std::max(best, row[kind].get<double>());
    out["gemm_best"][kind] = best;
  }
  return out;
}

// The core that OpenBLAS should have been told of, or "" when its own choice will do: kernels that use the
// vectors of this processor.
std::string better_core(const std::string& core) {
  const auto among = [&](std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), core) != names.end();
  };
  if (core.empty() || among({"SkylakeX", "Cooperlake", "SapphireRapids"})) return "";
  if (cpu_level_available() >= CpuLevel::avx512) return "SkylakeX";
  const bool wide = among({"Haswell", "Zen", "Excavator"});
  return cpu_level_available() == CpuLevel::avx2 && !wide ? "Haswell" : "";
}

// What stands between this machine and its speed, each with its remedy.
json missing(const json& m) {
  json out = json::array();
  const auto add = [&](const std::string& what, const std::string& remedy) {
    out.push_back({{"what", what}, {"remedy", remedy}});
  };
  const auto& features = m["features"];
  const bool amx = std::find(features.begin(), features.end(), "amx_bf16") != features.end();
  if (m["blas"] == "reference BLAS") {
    add("the reference BLAS is loaded: libtorch's fp32 and fp64 matrix products are about twenty times "
        "slower",
        "apt-get install libopenblas0-openmp");
  }
  const auto core = m["blas_kernels"].get<std::string>();
  if (const std::string better = better_core(core); !better.empty()) {
    add("OpenBLAS runs its kernels for " + core +
            ", not for this processor: libtorch's fp32 and fp64 matrix products are slower than they could "
            "be (mneme's own are not)",
        "set OPENBLAS_CORETYPE=" + better + " in the environment");
  }
  if (m["blas"] == "openblas (pthreads)") {
    add("BLAS has a thread pool of its own beside OpenMP's",
        "apt-get install libopenblas0-openmp and choose it: update-alternatives --config "
        "libblas.so.3-x86_64-linux-gnu, "
        "and the same for libopenblas.so.0-x86_64-linux-gnu and liblapack.so.3-x86_64-linux-gnu");
  }
  if (amx && cpu_level_available() < CpuLevel::amx) {
    add("the processor has AMX, but the system does not let processes use it", "Linux 5.16 or later");
  }
  if (cpu_level() < cpu_level_available()) {
    add("MNEME_CPU lowers the kernels to " + cpu_level_name(cpu_level()), "unset MNEME_CPU");
  }
  if (onednn_version() == "none") add("this libtorch has no oneDNN", "use a libtorch that is built with it");
  if (m["threads"] < m["cores"]) add("fewer threads than cores are used", "--threads 0");
  if (m["cuda_built"] == true && m["cuda_devices"] == 0) {
    add("libtorch knows CUDA, but no device answers", "check the driver with nvidia-smi");
  }
#if !defined(NDEBUG)
  add("this is a debug build", "cmake --preset release");
#endif
  return out;
}

std::string share(double value, const json& peak) {
  if (peak.is_null()) return "";
  const double of = peak["flops"].get<double>();
  return of > 0 ? " (" + std::to_string(static_cast<int>(100 * value / of + 0.5)) + "%)" : "";
}

void line(const std::string& name, const std::string& value) {
  std::printf("  %-22s%s\n", name.c_str(), value.c_str());
}

std::string words(const json& list) {
  std::string out;
  for (const auto& item : list) {
    if (!out.empty()) out += ' ';
    out += item.get<std::string>();
  }
  return out;
}

void print_measures(const json& m) {
  std::printf("\nmeasured, with all threads (in brackets the share of the unit's peak)\n");
  const json &fp32 = m["peak_fp32"], &bf16 = m["peak_bf16"];
  const auto rate = [](double flops) { return format_count(flops) + "FLOP/s"; };
  line("peak of " + fp32["unit"].get<std::string>(), rate(fp32["flops"].get<double>()));
  if (!bf16.is_null()) line("peak of " + bf16["unit"].get<std::string>(), rate(bf16["flops"].get<double>()));
  line("memory is read at", format_bytes(m["read_bytes_per_second"].get<double>()) + "/s");
  std::printf("\n  %-22s%-22s%-22s%-22s%s\n", "matrix product", "libtorch fp32", "mneme fp32",
              "libtorch bf16", "mneme bf16");
  const auto row = [&](const std::string& name, const json& r) {
    const auto cell = [&](const char* kind, const json& peak) {
      const double flops = r[kind].get<double>();
      return rate(flops) + share(flops, peak);
    };
    std::printf("  %-22s%-22s%-22s%-22s%s\n", name.c_str(), cell("libtorch_fp32", fp32).c_str(),
                cell("mneme_fp32", fp32).c_str(), cell("libtorch_bf16", bf16).c_str(),
                cell("mneme_bf16", bf16).c_str());
  };
  for (const json& r : m["gemm"]) {
    row(r["shape"][0].dump() + " x " + r["shape"][1].dump() + " x " + r["shape"][2].dump(), r);
  }
  row("best", m["gemm_best"]);
}

void print(const json& report) {
  const json &v = report["versions"], &m = report["machine"];
  std::printf("versions\n");
  for (const char* name : {"mneme", "libtorch", "onednn", "compiler"}) line(name, v[name].get<std::string>());
  std::printf("\nmachine\n");
  line("processor", m["cpu"].get<std::string>());
  line("features", words(m["features"]));
  line("kernels", m["kernels"].get<std::string>());
  line("threads", m["threads"].dump() + " on " + m["cores"].dump() + " cores");
  line("memory", format_bytes(m["memory_bytes"].get<double>()));
  const std::string blas_for = m["blas_kernels"].get<std::string>();
  line("BLAS", m["blas"].get<std::string>() + (blas_for.empty() ? "" : ", kernels for " + blas_for));
  line("CUDA", m["cuda_built"] == true ? m["cuda_devices"].dump() + " devices" : "not in this libtorch");
  if (report.contains("measured")) print_measures(report["measured"]);
  std::printf("\nmissing\n");
  if (report["missing"].empty()) std::printf("  nothing\n");
  for (const json& item : report["missing"]) {
    std::printf("  %s\n    remedy: %s\n", item["what"].get<std::string>().c_str(),
                item["remedy"].get<std::string>().c_str());
  }
}

int run_doctor(int argc, const char* const* argv) {
  DoctorOptions options;
  if (!read_options(kDoctorCommand, argc, argv, options)) return 0;
  json report = {{"versions", versions()}, {"machine", machine(at::get_num_threads())}};
  report["missing"] = missing(report["machine"]);
  if (options.measure) report["measured"] = measure();
  if (options.common.json) {
    std::printf("%s\n", dump_json(report).c_str());
  } else {
    print(report);
  }
  return 0;
}

}  // namespace

const Command kDoctorCommand = {"doctor", "what this machine offers, what of it is used, and what is missing",
                                "mneme doctor [--no-measure] [--json]", "mneme doctor --threads 1",
                                run_doctor};

}  // namespace mneme
