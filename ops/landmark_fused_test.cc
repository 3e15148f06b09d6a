#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/cpu.h"
#include "ops/gradcheck.h"
#include "ops/landmark_layout.h"
#include "ops/landmark_reference.h"

namespace mneme {
namespace {

// A window whose landmarks stand where a generator of numbers puts them, about every `every` keys.
struct Window {
  const char* name;
  int64_t B, T, S, H, G, K;
  int64_t every;       // 0: none
  bool regular;        // exactly so
  double padding = 0;  // share of keys that are padding
};

// Names gtest prints.
void PrintTo(const Window& w, std::ostream* out) { *out << w.name; }

constexpr Window kWindows[] = {
    {"short", 2, 7, 7, 2, 1, 16, 3, true},
    {"regular", 1, 130, 130, 2, 2, 64, 51, true},
    {"random", 2, 150, 150, 4, 2, 32, 9, false},
    {"adjacent", 1, 90, 90, 2, 2, 40, 2, false},
    {"prefix", 2, 40, 333, 4, 1, 64, 21, false},
    {"one_query", 1, 1, 300, 8, 2, 64, 50, true},
    {"none", 1, 300, 300, 2, 2, 32, 0, true},
    {"long_blocks", 1, 120, 900, 2, 1, 24, 300, false},
    {"very_long_blocks", 1, 600, 1450, 1, 1, 16, 700, true},
    {"padded", 2, 200, 260, 2, 2, 48, 17, false, 0.2},
    {"much_padding", 2, 120, 200, 2, 1, 16, 6, false, 0.7},
    {"parts", 1, 290, 1300, 1, 1, 32, 40, false},
    {"wide", 1, 70, 70, 1, 1, 160, 20, true},
};

struct Inputs {
  Tensor q, k, v, is_landmark, mask;
};

Inputs make_inputs(const Window& w, uint64_t seed = 1) {
  auto generator = at::detail::createCPUGenerator(seed);
  auto normal = [&](at::IntArrayRef shape) {
    return at::randn(shape, generator, at::TensorOptions(at::kDouble));
  };
  Inputs in{
      normal({w.B, w.T, w.H, w.K}), normal({w.B, w.S, w.G, w.K}) * 1.5, normal({w.B, w.S, w.G, w.K}), {}, {}};
  const Tensor draw = at::rand({w.B, w.S}, generator, at::TensorOptions(at::kDouble));
  if (w.every == 0) {
    in.is_landmark = at::zeros({w.B, w.S}, at::kBool);
  } else if (w.regular) {
    in.is_landmark = (at::arange(w.S).remainder(w.every) == w.every - 1).repeat({w.B, 1});
  } else {
    in.is_landmark = draw < 1.0 / static_cast<double>(w.every);
    in.is_landmark[0][0] = true;
  }
  if (w.padding > 0) in.mask = at::rand({w.B, w.S}, generator, at::TensorOptions(at::kDouble)) > w.padding;
  return in;
}

struct Result {
  Tensor out, lse;
  Tensors grads;  // q, k, v, context-miss key
};

using Attention = Tensor (*)(const Tensor&, const LandmarkKeys&, const LandmarkOptions&, Tensor*);

Result run(Attention attend, const Inputs& in, LandmarkOptions options, at::ScalarType type,
           bool backward = true) {
  Result r;
  const Tensors leaves = {in.q.to(type), in.k.to(type), in.v.to(type),
                          options.miss_key.defined() ? options.miss_key.to(type) : Tensor()};
  auto f = [&](const Tensors& x) {
    options.miss_key = x[3];
    return Tensors{attend(x[0], {x[1], x[2], in.is_landmark, in.mask}, options, &r.lse)};
  };
  {
    at::NoGradGuard no_grad;
    r.out = f(leaves)[0].to(at::kDouble);
  }
  if (backward) r.grads = gradients(f, leaves, random_cotangents({r.out}, 7));
  return r;
}

// The largest difference over the largest expected value.
double error_of(const Tensor& found, const Tensor& expected) {
  const double scale = std::max(1e-3, expected.abs().max().item<double>());
  return (found.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>() / scale;
}

void expect_close(const Result& found, const Result& expected, double tolerance) {
  EXPECT_LE(error_of(found.out, expected.out), tolerance);
  const Tensor finite = expected.lse.isfinite();
  EXPECT_TRUE(at::equal(finite, found.lse.isfinite()));
  EXPECT_LE(error_of(found.lse.masked_fill(finite.logical_not(), 0),
                     expected.lse.masked_fill(finite.logical_not(), 0)),
            tolerance);
  ASSERT_EQ(found.grads.size(), expected.grads.size());
  for (size_t i = 0; i < found.grads.size(); ++i) {
    ASSERT_EQ(found.grads[i].defined(), expected.grads[i].defined());
    if (!found.grads[i].defined()) continue;
    EXPECT_LE(error_of(found.grads[i], expected.grads[i]), tolerance) << "gradient " << i;
  }
}

struct Level {
  CpuLevel level;
  bool bf16;
};
std::vector<Level> levels() {
  std::vector<Level> out;
  for (const Level l :
       {Level{CpuLevel::baseline, false}, Level{CpuLevel::avx2, false}, Level{CpuLevel::avx512, false},
        Level{CpuLevel::avx512, true}, Level{CpuLevel::amx, true}}) {
    if (l.level <= cpu_level_available()) out.push_back(l);
  }
  return out;
}

class LandmarkFused : public ::testing::TestWithParam<Window> {};
class LandmarkVariants : public ::testing::TestWithParam<Window> {};

TEST_P(LandmarkFused, AgreesWithTheReference) {
  const Inputs in = make_inputs(GetParam());
  const Result expected = run(landmark_attention_reference, in, {}, at::kDouble);
  for (const Level level : levels()) {
    SCOPED_TRACE(cpu_level_name(level.level) + (level.bf16 ? "+bf16" : ""));
    const ForceCpuLevel force(level.level, level.bf16);
    expect_close(run(landmark_attention, in, {}, at::kFloat), expected, 2e-5);
    expect_close(run(landmark_attention, in, {}, at::kBFloat16), expected, 4e-2);
  }
}

TEST_P(LandmarkVariants, Agree) {
  const Window w = GetParam();
  const Inputs in = make_inputs(w, 2);
  auto generator = at::detail::createCPUGenerator(3);
  auto check = [&](const char* what, const LandmarkOptions& options, bool backward = true) {
    SCOPED_TRACE(what);
    expect_close(run(landmark_attention, in, options, at::kFloat, backward),
                 run(landmark_attention_reference, in, options, at::kDouble, backward), 2e-5);
  };
  LandmarkOptions options;
  options.scale = 0.4;
  check("scale", options);
  for (const LandmarkSoftmax softmax : {LandmarkSoftmax::plain, LandmarkSoftmax::without_landmark}) {
    options.softmax = softmax;
    check("ungrouped", options);
  }
  LandmarkOptions dropout;
  dropout.site.seed = 5;
  dropout.group_dropout = 0.3;
  check("group dropout", dropout);
  dropout.dropout = 0.2;
  check("dropout", dropout);
  LandmarkOptions miss;
  miss.miss_key = at::randn({w.B, w.G, w.K}, generator, at::TensorOptions(at::kDouble));
  check("context-miss token, none controlled", miss);
  miss.controlled = at::rand({w.B, w.S}, generator, at::TensorOptions(at::kDouble)) < 0.5;
  check("context-miss token", miss);
  LandmarkOptions all = miss;
  all.controlled = at::ones({w.B, w.S}, at::kBool);
  check("context-miss token, all controlled", all);
  miss.site.seed = 6;
  miss.group_dropout = 0.3;
  check("context-miss token and group dropout", miss);
  miss.miss_cutoff = 0.1;
  check("cutoff", miss, false);
}

std::string name_of(const ::testing::TestParamInfo<Window>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Windows, LandmarkFused, ::testing::ValuesIn(kWindows), name_of);
INSTANTIATE_TEST_SUITE_P(Windows, LandmarkVariants,
                         ::testing::Values(kWindows[0], kWindows[1], kWindows[3], kWindows[5], kWindows[7],
                                           kWindows[9]),
                         name_of);

TEST(LandmarkFusedBits, DoNotDependOnThreadsOrNeighbours) {
  const int threads = at::get_num_threads();
  for (const Window& w : {kWindows[2], kWindows[9], kWindows[11]}) {
    const Inputs in = make_inputs(w);
    at::set_num_threads(1);
    const Result one = run(landmark_attention, in, {}, at::kBFloat16);
    at::set_num_threads(3);
    const Result three = run(landmark_attention, in, {}, at::kBFloat16);
    Inputs first = in;
    for (Tensor* t : {&first.q, &first.k, &first.v, &first.is_landmark}) *t = t->slice(0, 0, 1);
    if (first.mask.defined()) first.mask = first.mask.slice(0, 0, 1);
    const Tensor alone = run(landmark_attention, first, {}, at::kBFloat16, false).out;
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(one.out, three.out));
    EXPECT_TRUE(at::equal(one.out.slice(0, 0, 1), alone));
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(one.grads[i], three.grads[i])) << i;
  }
}

TEST(LandmarkFusedBits, LeaveLandmarkValuesAndPaddingWithoutGradient) {
  const Inputs in = make_inputs(kWindows[9]);
  const Result r = run(landmark_attention, in, {}, at::kFloat);
  const Tensor landmark = in.is_landmark.unsqueeze(2).unsqueeze(3),
               pad = in.mask.logical_not().unsqueeze(2).unsqueeze(3);
  EXPECT_EQ((r.grads[2] * landmark).abs().max().item<float>(), 0);
  for (const size_t i : {1, 2}) EXPECT_EQ((r.grads[i] * pad).abs().max().item<float>(), 0);
}

TEST(LandmarkFusedBits, NeverReadTheFuture) {
  Inputs in = make_inputs(kWindows[1]);
  const Tensor whole = run(landmark_attention, in, {}, at::kFloat, false).out;
  in.k.slice(1, 70) *= -30;
  in.v.slice(1, 70) += 1000;
  const Tensor other = run(landmark_attention, in, {}, at::kFloat, false).out;
  EXPECT_TRUE(at::equal(other.slice(1, 0, 70), whole.slice(1, 0, 70)));
}

TEST(LandmarkFusedBits, RefuseTheGradientOfACutoff) {
  LandmarkOptions options;
  options.miss_key = at::randn({2, 1, 16}, at::kFloat);
  options.miss_cutoff = 0.1;
  EXPECT_THROW(run(landmark_attention, make_inputs(kWindows[0]), options, at::kFloat), Error);
}

TEST(LandmarkLayout, PacksBlocksEvenlyAndInChunks) {
  using landmark::make_layout;
  const bool island[] = {true, false, false, false, true, true, false, false};
  const bool mask[] = {true, true, false, true, true, true, false, true};
  const auto layout = make_layout(island, mask, 8, 4, landmark::Rule::grouped);
  ASSERT_EQ(layout.block.size(), 4U);
  EXPECT_EQ(layout.gate, (std::vector<int32_t>{0, 4, 5}));
  EXPECT_EQ(layout.block[1].end - layout.block[1].begin, 2);
  EXPECT_EQ(layout.block[2].end, layout.block[2].begin);
  EXPECT_EQ(layout.own, (std::vector<int32_t>{1, 2, 2, 3}));
  EXPECT_EQ(layout.gates, (std::vector<int32_t>{1, 2, 2, 3}));
  EXPECT_EQ(layout.end[0] - layout.begin[0], 2);
  EXPECT_EQ(layout.end[2], layout.begin[2]);
  EXPECT_EQ(layout.end[3] - layout.begin[3], 1);
  EXPECT_EQ(static_cast<int64_t>(layout.key.size()), landmark::kChunk);
  for (const landmark::Block& block : layout.block) EXPECT_EQ(block.begin % 2, 0);
}

}  // namespace
}  // namespace mneme
