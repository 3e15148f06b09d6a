// Random attention calls for the tests: every combination of what a source can be, at odd sizes, and the
// plain loops in double that say what the answer is. Tests only.
#pragma once

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/attention_shape.h"
#include "ops/cpu.h"

namespace mneme {

struct AttentionLevel {
  CpuLevel level;
  bool bf16;  // vdpbf16ps
};

inline std::string name_of(const AttentionLevel& l) {
  return cpu_level_name(l.level) + (l.level == CpuLevel::avx512 && !l.bf16 ? "_nobf16" : "");
}

// All that this machine can run.
inline std::vector<AttentionLevel> attention_levels() {
  std::vector<AttentionLevel> out;
  for (const AttentionLevel l :
       {AttentionLevel{CpuLevel::baseline, false}, AttentionLevel{CpuLevel::avx2, false},
        AttentionLevel{CpuLevel::avx512, false}, AttentionLevel{CpuLevel::avx512, true},
        AttentionLevel{CpuLevel::amx, true}}) {
    if (l.level <= cpu_level_available()) out.push_back(l);
  }
  return out;
}

struct AttentionCase {
  Tensor q;
  std::vector<Keys> sources;
  AttentionOptions options;
};

struct CaseLimits {
  std::vector<int64_t> widths = {16, 24, 40, 64, 80, 96, 128};
  int64_t rows = 3, queries = 40, keys = 90, sources = 3;
  bool pages = true, extras = true;  // extras: mask, bias, slopes
  bool own_queries = true, lengths = true;
};

class CaseMaker {
 public:
  CaseMaker(uint64_t seed, at::ScalarType type, CaseLimits limits = {})
      : random_(seed),
        generator_(at::detail::createCPUGenerator(seed)),
        type_(type),
        limits_(std::move(limits)) {}

  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int64_t one_in) { return between(1, one_in) == 1; }
  Tensor normal(
      at::IntArrayRef shape) {  // rounded to the case's type, so that all levels read the same numbers
    return at::randn(shape, generator_, at::TensorOptions(at::kDouble)).to(type_);
  }

  AttentionCase make() {
    const int64_t rows = between(1, limits_.rows), queries = between(1, limits_.queries);
    const int64_t key_heads = between(1, 3), heads = key_heads * between(1, 3);
    const int64_t width =
        limits_.widths[static_cast<size_t>(between(0, static_cast<int64_t>(limits_.widths.size()) - 1))];
    AttentionCase out;
    out.q = normal({rows, queries, heads, width});
    if (limits_.lengths && chance(3)) {
      for (int64_t b = 0; b < rows; ++b) out.options.query_count.push_back(between(0, queries));
    }
    if (chance(3)) out.options.scale = 0.3;
    const int64_t n = between(1, limits_.sources);
    for (int64_t s = 0; s < n; ++s) out.sources.push_back(source(out.q, key_heads));
    return out;
  }

 private:
  // [rows, keys, heads, width], sometimes as the transposed view of another layout.
  Tensor keys_like(int64_t rows, int64_t keys, int64_t heads, int64_t width) {
    if (chance(2)) return normal({rows, keys, heads, width});
    return normal({rows, heads, keys, width}).transpose(1, 2);
  }

  void paged(Keys& source, int64_t rows, int64_t heads, int64_t width) {
    for (int64_t b = 0; b < rows; ++b) {
      std::vector<KeyPage> row;
      const int64_t pages = between(0, 4);
      for (int64_t p = 0; p < pages; ++p) {
        const int64_t size = between(1, 40), begin = between(0, size - 1);
        row.push_back(
            {normal({heads, size, width}), normal({heads, size, width}), begin, between(0, size - begin)});
      }
      source.pages.push_back(row);
    }
  }

  Keys source(const Tensor& q, int64_t key_heads) {
    const int64_t rows = q.size(0), queries = q.size(1), heads = q.size(2), width = q.size(3);
    Keys out;
    int64_t keys = chance(8) ? 0 : between(1, limits_.keys);
    if (limits_.pages && chance(3)) {
      paged(out, rows, key_heads, width);
      keys = 0;
      for (const auto& row : out.pages) {
        int64_t total = 0;
        for (const KeyPage& page : row) total += page.count;
        keys = std::max(keys, total);
      }
    } else {
      out.k = keys_like(rows, keys, key_heads, width);
      out.v = keys_like(rows, keys, key_heads, width);
      if (limits_.lengths && chance(3)) {
        for (int64_t b = 0; b < rows; ++b) out.length.push_back(chance(4) ? 0 : between(0, keys));
      }
    }
    if (limits_.own_queries && chance(3)) out.q = normal(q.sizes());
    if (chance(2)) out.sight = Sight::all;
    if (chance(2)) {
      for (int64_t b = 0; b < rows; ++b) out.start.push_back(between(-5, keys + 5));
    }
    if (chance(3)) out.window = between(1, 50);
    if (out.window > 0 && chance(2)) out.keep = between(1, 5);
    if (!limits_.extras) return out;
    if (chance(4))
      out.mask =
          at::rand({rows, chance(2) ? 1 : queries, keys}, generator_, at::TensorOptions(at::kFloat)) < 0.7;
    if (chance(3)) out.slopes = at::rand({heads}, generator_, at::TensorOptions(at::kFloat)) * 0.2;
    if (chance(4)) {
      out.bias = at::randn({rows, heads, keys}, generator_, at::TensorOptions(at::kFloat));
      if (chance(2)) out.bias = out.bias[0];
    }
    return out;
  }

  std::mt19937_64 random_;
  at::Generator generator_;
  at::ScalarType type_;
  CaseLimits limits_;
};

struct AttentionAnswer {
  Tensor out, lse;  // double
};

// The definition, one number at a time.
inline AttentionAnswer attention_by_loops(const AttentionCase& c) {
  const CallShape call = check_attention(c.q, c.sources, c.options);
  AttentionAnswer answer{
      at::zeros(c.q.sizes(), at::kDouble),
      at::full({call.rows, call.heads, call.queries}, -std::numeric_limits<double>::infinity(), at::kDouble)};
  for (int64_t b = 0; b < call.rows; ++b) {
    for (int64_t h = 0; h < call.heads; ++h) {
      const int64_t g = h / (call.heads / call.key_heads);
      std::vector<Tensor> ks, vs;  // [S, K] of each source
      for (size_t s = 0; s < c.sources.size(); ++s) {
        const Keys& keys = c.sources[s];
        std::vector<Tensor> k, v;
        if (keys.pages.empty()) {
          k.push_back(keys.k[b].select(1, g).to(at::kDouble));
          v.push_back(keys.v[b].select(1, g).to(at::kDouble));
        } else {
          k.push_back(at::zeros({0, call.width}, at::kDouble));
          v.push_back(k[0]);
          for (const KeyPage& page : keys.pages[static_cast<size_t>(b)]) {
            k.push_back(page.k[g].narrow(0, page.begin, page.count).to(at::kDouble));
            v.push_back(page.v[g].narrow(0, page.begin, page.count).to(at::kDouble));
          }
        }
        ks.push_back(at::cat(k).contiguous());
        vs.push_back(at::cat(v).contiguous());
      }
      for (int64_t t = 0; t < call.count[static_cast<size_t>(b)]; ++t) {
        std::vector<double> scores;
        std::vector<const double*> values;
        for (size_t s = 0; s < c.sources.size(); ++s) {
          const Keys& keys = c.sources[s];
          const Tensor q = (keys.q.defined() ? keys.q : c.q)[b][t][h].to(at::kDouble).contiguous();
          const int64_t at = call.sources[s].start[static_cast<size_t>(b)] + t;
          for (int64_t j = 0; j < call.sources[s].length[static_cast<size_t>(b)]; ++j) {
            if (keys.sight == Sight::causal && j > at) continue;
            if (keys.window > 0 && j <= at - keys.window && j >= keys.keep) continue;
            if (keys.mask.defined() && !keys.mask[b][keys.mask.size(1) == 1 ? 0 : t][j].item<bool>())
              continue;
            const double* kj = ks[s].data_ptr<double>() + j * call.width;
            double score = 0;
            for (int64_t i = 0; i < call.width; ++i) score += q.data_ptr<double>()[i] * kj[i];
            score *= call.scale;
            if (keys.slopes.defined()) score -= keys.slopes[h].item<double>() * static_cast<double>(at - j);
            if (keys.bias.defined())
              score += (keys.bias.dim() == 3 ? keys.bias[b] : keys.bias)[h][j].item<double>();
            scores.push_back(score);
            values.push_back(vs[s].data_ptr<double>() + j * call.width);
          }
        }
        if (scores.empty()) continue;
        double top = scores[0], sum = 0;
        for (const double x : scores) top = std::max(top, x);
        for (const double x : scores) sum += std::exp(x - top);
        answer.lse[b][h][t] = top + std::log(sum);
        double* o = answer.out[b][t][h].data_ptr<double>();
        for (size_t j = 0; j < scores.size(); ++j) {
          const double w = std::exp(scores[j] - top) / sum;
          for (int64_t i = 0; i < call.width; ++i) o[i] += w * values[j][i];
        }
      }
    }
  }
  return answer;
}

// Largest difference; infinities must agree.
inline double worst(const Tensor& a, const Tensor& b) {
  if (a.numel() == 0) return 0;
  const Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return at::where(x == y, at::zeros_like(x), (x - y).abs().nan_to_num(1e30, 1e30)).max().item<double>();
}

}  // namespace mneme
