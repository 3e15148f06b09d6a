#include "base/threads.h"

#include <dlfcn.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace mneme {
namespace {

// Cores that the control group's quota amounts to, at least one; 0 when there is no quota. Both generations'
// files.
int quota_cores() {
  double quota = 0, period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
    if (std::fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;  // "max 100000": no quota
    std::fclose(file);
  } else {
    const auto number = [](const char* path) {
      double value = 0;
      if (std::FILE* f = std::fopen(path, "re")) {
        if (std::fscanf(f, "%lf", &value) != 1) value = 0;
        std::fclose(f);
      }
      return value;
    };
    quota = number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::max(1.0, std::ceil(quota / period - 0.01)));
}

int affinity_cores() {
  // The mask may be longer than cpu_set_t on large machines: grow it until the kernel accepts.
  for (size_t cpus = 1024; cpus <= (1U << 20); cpus *= 2) {
    std::vector<unsigned long> mask(cpus / (8 * sizeof(unsigned long)));
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    if (::sched_getaffinity(0, cpus / 8, set) == 0) return std::max(1, CPU_COUNT_S(cpus / 8, set));
  }
  return std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

// OpenBLAS knows processors by their model numbers and gives those that are newer than itself its SSE3
// kernels, a tenth of the speed. Its own variable names better ones, but is read when the library is loaded:
// have it choose again.
void choose_blas_kernels() {
#if defined(__x86_64__)
  using Do = void (*)();
  const auto quit = reinterpret_cast<Do>(::dlsym(RTLD_DEFAULT, "gotoblas_dynamic_quit"));
  const auto init = reinterpret_cast<Do>(::dlsym(RTLD_DEFAULT, "gotoblas_dynamic_init"));
  if (!quit || !init || blas_kernels() != "Prescott" || std::getenv("OPENBLAS_CORETYPE")) return;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return;
  ::setenv("OPENBLAS_CORETYPE", wide ? "SkylakeX" : "Haswell", 0);
  quit();
  init();
#endif
}

}  // namespace

int available_cores() {
  static const int cores = [] {
    const int quota = quota_cores();
    const int affinity = affinity_cores();
    return quota > 0 ? std::min(quota, affinity) : affinity;
  }();
  return cores;
}

int set_base_threads(int64_t wanted) {
  constexpr int64_t kMost = 4096;
  if (wanted < 0 || wanted > kMost) {
    throw Error(Kind::usage, "--threads: expected 0 (all cores) to " + std::to_string(kMost) + ", found " +
                                 std::to_string(wanted));
  }
  const int threads = wanted == 0 ? available_cores() : static_cast<int>(wanted);
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  // An OpenBLAS built on OpenMP follows omp_set_num_threads; one with threads of its own must be told.
  using Set = void (*)(int);
  if (auto set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
  choose_blas_kernels();
  return threads;
}

std::string blas_kernels() {
  using Name = char* (*)();
  const auto name = reinterpret_cast<Name>(::dlsym(RTLD_DEFAULT, "openblas_get_corename"));
  return name ? name() : "";
}

std::string loaded_blas() {
  void* sgemm = ::dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info{};
  if (!sgemm || ::dladdr(sgemm, &info) == 0 || !info.dli_fname) return "none";
  std::string path = info.dli_fname;
  if (char* real = ::realpath(info.dli_fname, nullptr)) {
    path = real;
    std::free(real);
  }
  if (path.find("mkl") != std::string::npos) return "mkl";
  if (path.find("blis") != std::string::npos) return "blis";
  if (path.find("atlas") != std::string::npos) return "atlas";
  // Debian's alternatives may hand out a thin libblas.so.3 of OpenBLAS, so its own symbol decides.
  using Parallel = int (*)();
  if (auto parallel = reinterpret_cast<Parallel>(::dlsym(RTLD_DEFAULT, "openblas_get_parallel"))) {
    constexpr const char* kNames[] = {"openblas (serial)", "openblas (pthreads)", "openblas (openmp)"};
    const int kind = parallel();
    return kind >= 0 && kind <= 2 ? kNames[kind] : "openblas";
  }
  if (path.find("/blas/") != std::string::npos) return "reference BLAS";
  return path;
}

}  // namespace mneme
