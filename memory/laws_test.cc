// The laws of docs/architecture.md, over every row of the registry on two backbones.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/random.h"
#include "memory/law_cases.h"
#include "memory/state_file.h"

namespace mneme {
namespace {

constexpr double kExact = 1e-9;

double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return a.numel() ? (a - b).abs().max().item<double>() : 0.0;
}

std::vector<int64_t> random_pieces(int64_t total, uint64_t seed) {
  Random random({.seed = seed});
  std::vector<int64_t> pieces;
  for (int64_t left = total; left > 0; left -= pieces.back())
    pieces.push_back(random.between(1, std::min<int64_t>(left, 17)));
  return pieces;
}

Batch batch_of(const Tensor& ids) {
  Batch b;
  b.ids = ids;
  return b;
}

class Laws : public ::testing::TestWithParam<LawCase> {
 protected:
  void SetUp() override { model_ = law_model(GetParam()); }
  bool breaches(const std::string& law) const {
    for (const Breach& b : model_.memory->breaches()) {
      if (b.law == law) return true;
    }
    return false;
  }
  Tensor whole(const Tensor& ids) const {
    State s = model_.initial(ids.size(0));
    return read(model_, batch_of(ids), s).hidden;
  }
  at::NoGradGuard no_grad_;
  Model model_;
};

TEST_P(Laws, Split) {
  if (breaches("split")) GTEST_SKIP() << "declared";
  const Tensor ids = law_text(2, 60, 1), expected = whole(ids);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    State s = model_.initial(2);
    EXPECT_LT(distance(read_in_pieces(model_, ids, random_pieces(60, seed), s), expected), kExact);
  }
  State s = model_.initial(2);
  EXPECT_LT(distance(read_in_pieces(model_, ids, std::vector<int64_t>(60, 1), s), expected), kExact);
}

TEST_P(Laws, SplitOnExplicitEnds) {
  if (breaches("split")) GTEST_SKIP() << "declared";
  const Tensor ids = law_text(1, 40, 2);
  Batch all = batch_of(ids);
  all.ends = std::vector<std::vector<int64_t>>{{5, 11, 30}};
  State one = model_.initial(1), two = model_.initial(1);
  const Tensor expected = read(model_, all, one).hidden;
  Batch first = batch_of(ids.narrow(1, 0, 8)), second = batch_of(ids.narrow(1, 8, 32));
  first.ends = std::vector<std::vector<int64_t>>{{5}};
  second.ends = std::vector<std::vector<int64_t>>{{3, 22}};
  const Tensor found = at::cat({read(model_, first, two).hidden, read(model_, second, two).hidden}, 1);
  EXPECT_LT(distance(found, expected), kExact);
  EXPECT_EQ(one.rows[0].segment, two.rows[0].segment);
}

TEST_P(Laws, Causality) {
  const Tensor ids = law_text(1, 50, 3), expected = whole(ids);
  bool leaks = false;
  for (int64_t at : {1, 9, 23, 49}) {
    Tensor changed = ids.clone();
    for (int64_t t = at; t < 50; ++t) changed[0][t] = (changed[0][t].item<int64_t>() + 5) % 29;
    leaks = leaks || distance(whole(changed).narrow(1, 0, at), expected.narrow(1, 0, at)) > kExact;
  }
  EXPECT_EQ(leaks, breaches("causality"));
}

TEST_P(Laws, Rows) {
  const Tensor ids = law_text(3, 50, 4);
  Batch batch = batch_of(ids);
  batch.count = {50, 13, 31};
  State together = model_.initial(3);
  const Tensor all = read(model_, batch, together).hidden;
  Batch more = batch_of(ids.narrow(1, 0, 20));
  more.count = {4, 20, 9};
  more.reset = {false, false, true};
  const Tensor next = read(model_, more, together).hidden;
  for (int64_t r = 0; r < 3; ++r) {
    const int64_t n = batch.count[static_cast<size_t>(r)], m = more.count[static_cast<size_t>(r)];
    State alone = model_.initial(1);
    const Tensor first = read(model_, batch_of(ids.narrow(0, r, 1).narrow(1, 0, n)), alone).hidden;
    EXPECT_LT(distance(all.narrow(0, r, 1).narrow(1, 0, n), first), kExact);
    EXPECT_EQ(all[r].narrow(0, n, 50 - n).abs().sum().item<double>(), 0.0);
    if (r == 2) alone = model_.initial(1);
    const Tensor second = read(model_, batch_of(ids.narrow(0, r, 1).narrow(1, 0, m)), alone).hidden;
    EXPECT_LT(distance(next.narrow(0, r, 1).narrow(1, 0, m), second), kExact);
  }
}

// Segments that a method reads at once, or prepares at once, against one after the other: ragged rows, on the
// method's grid and on explicit ends.
TEST_P(Laws, ManySegmentsAtOnce) {
  const Tensor ids = law_text(3, 50, 14);
  for (const bool explicit_ends : {false, true}) {
    Batch batch = batch_of(ids);
    batch.count = {50, 13, 41};
    if (explicit_ends) batch.ends = std::vector<std::vector<int64_t>>{{3, 11, 30, 42}, {6, 13}, {2, 4, 25}};
    ReadOptions one_by_one;
    one_by_one.parallel = false;
    State together = model_.initial(3), apart = model_.initial(3);
    const Tensor a = read(model_, batch, together).hidden, b = read(model_, batch, apart, one_by_one).hidden;
    EXPECT_LT(distance(a, b), kExact) << explicit_ends;
    Batch next = batch_of(law_text(3, 20, 15));
    EXPECT_LT(distance(read(model_, next, together).hidden, read(model_, next, apart).hidden), kExact);
  }
}

TEST_P(Laws, Bound) {
  State s = model_.initial(1);
  const int64_t bound = model_.memory->bound();
  int64_t most = 0;
  for (int i = 0; i < 40; ++i) {
    read(model_, batch_of(law_text(1, 10, 100 + static_cast<uint64_t>(i))), s);
    most = std::max(most, s.bytes());
  }
  if (bound < 0) {
    EXPECT_GT(s.bytes(), 0);
  } else {
    EXPECT_LE(most, bound);
  }
  EXPECT_EQ(s.rows[0].position, 400);
}

TEST_P(Laws, Value) {
  const Tensor ids = law_text(2, 60, 5);
  State s = model_.initial(2);
  read(model_, batch_of(ids.narrow(1, 0, 33)), s);
  const State copy = s;
  const Tensor once = read(model_, batch_of(ids.narrow(1, 33, 20)), s).hidden;
  State fork = copy, again = copy;
  read(model_, batch_of(law_text(2, 11, 6)), fork);  // a fork goes its own way
  const Tensor twice = read(model_, batch_of(ids.narrow(1, 33, 20)), again).hidden;
  EXPECT_TRUE(once.equal(twice));
  const Tensor later = ids.narrow(1, 53, 7);
  EXPECT_TRUE(read(model_, batch_of(later), s).hidden.equal(read(model_, batch_of(later), again).hidden));
}

TEST_P(Laws, SaveLoadStepEqualsStep) {
  const Tensor ids = law_text(2, 60, 21);
  State s = model_.initial(2);
  read(model_, batch_of(ids.narrow(1, 0, 37)), s);
  const std::string path = ::testing::TempDir() + "state-" + std::to_string(::getpid()) + ".safetensors";
  const std::string print = fingerprint(model_);
  save_state(s, print, path);
  State loaded = load_state(path, print);
  EXPECT_THROW(load_state(path, "0123456789abcdef"), Error);
  std::remove(path.c_str());
  ASSERT_EQ(loaded.size(), 2);
  EXPECT_EQ(loaded.rows[1].position, 37);
  for (int64_t at = 37; at < 60; at += 5) {
    const Batch next = batch_of(ids.narrow(1, at, std::min<int64_t>(5, 60 - at)));
    EXPECT_TRUE(read(model_, next, s).hidden.equal(read(model_, next, loaded).hidden));
  }
}

TEST_P(Laws, SelectAndStack) {
  const Tensor ids = law_text(2, 40, 7);
  State s = model_.initial(2);
  read(model_, batch_of(ids.narrow(1, 0, 25)), s);
  State swapped = State::stack({s.select({1}), s.select({0, 0})});
  const Tensor rest = ids.narrow(1, 25, 15);
  const Tensor expected = read(model_, batch_of(rest), s).hidden;
  const Tensor found = read(model_, batch_of(at::stack({rest[1], rest[0], rest[0]})), swapped).hidden;
  if (breaches("rows")) GTEST_SKIP() << "declared";
  EXPECT_LT(distance(found[0], expected[1]), kExact);
  EXPECT_LT(distance(found[1], expected[0]), kExact);
  EXPECT_LT(distance(found[1], found[2]), kExact);
}

TEST_P(Laws, Reset) {
  const Tensor before = law_text(2, 30, 8), after = law_text(2, 30, 9);
  State used = model_.initial(2), fresh = model_.initial(2);
  read(model_, batch_of(before), used);
  Batch batch = batch_of(after);
  batch.reset = {true, true};
  EXPECT_TRUE(read(model_, batch, used).hidden.equal(read(model_, batch_of(after), fresh).hidden));
}

TEST_P(Laws, Finish) {
  const Tensor ids = law_text(1, 17, 10);
  Batch batch = batch_of(ids);
  batch.finish = true;
  State s = model_.initial(1);
  const Tensor hidden = read(model_, batch, s).hidden;
  EXPECT_LT(distance(hidden, whole(ids)), kExact);
  EXPECT_EQ(s.rows[0].phase, 0);
  State later = model_.initial(1);
  read(model_, batch_of(ids), later);
  Batch empty = batch_of(ids.narrow(1, 0, 0));
  empty.finish = true;
  read(model_, empty, later);
  EXPECT_EQ(later.rows[0].segment, s.rows[0].segment);
  for (const auto& [name, t] : s.rows[0].tensors)
    EXPECT_LT(distance(t, later.rows[0].tensors.at(name)), kExact) << name;
}

TEST_P(Laws, Off) {
  const MethodRow& row = GetParam().row ? *GetParam().row : find_method(GetParam().options.method);
  LawCase off = GetParam(), baseline = GetParam();
  off.options = row.off(off.options);
  baseline.options = row.baseline(baseline.options);
  const Model a = law_model(off), b = law_model(baseline);
  const Tensor ids = law_text(2, 50, 12);
  State s = a.initial(2), t = b.initial(2);
  ReadOptions one_by_one;
  one_by_one.parallel = false;  // equal shapes
  EXPECT_TRUE(
      read(a, batch_of(ids), s, one_by_one).hidden.equal(read(b, batch_of(ids), t, one_by_one).hidden));
}

TEST_P(Laws, ParallelSegments) {
  const Tensor ids = law_text(2, 56, 13);
  State s = model_.initial(2), t = model_.initial(2);
  ReadOptions one_by_one;
  one_by_one.parallel = false;
  EXPECT_LT(
      distance(read(model_, batch_of(ids), s).hidden, read(model_, batch_of(ids), t, one_by_one).hidden),
      kExact);
  EXPECT_EQ(s.rows[1].segment, t.rows[1].segment);
}

TEST_P(Laws, Determinism) {
  const Tensor ids = law_text(3, 40, 14);
  EXPECT_TRUE(whole(ids).equal(whole(ids)));
}

TEST_P(Laws, AFailedReadChangesNothing) {
  State s = model_.initial(1);
  const Tensor ids = law_text(1, 20, 15);
  read(model_, batch_of(ids), s);
  State expected = s;
  Tensor wrong = ids.clone();
  wrong[0][19] = 29;
  EXPECT_THROW(read(model_, batch_of(wrong), s), Error);
  EXPECT_TRUE(read(model_, batch_of(ids), s).hidden.equal(read(model_, batch_of(ids), expected).hidden));
}

TEST_P(Laws, Gradient) {
  const at::AutoGradMode with_grad(true);
  at::manual_seed(5);
  const Tensor ids = law_text(2, 26, 16), weight = at::randn({2, 26, 16}, at::kDouble);
  const auto loss = [&] {
    State s = model_.initial(2);
    return (read(model_, batch_of(ids), s).hidden * weight).sum();
  };
  std::vector<std::pair<std::string, Tensor>> leaves;
  for (const Parameter& p : model_.parameters())
    leaves.emplace_back(p.name, p.value().set_requires_grad(true));
  const MemoryOptions& o = GetParam().options;
  if (o.method == "landmark" && o.landmark.segment < ids.size(1)) {  // declared: none crosses a window's end
    EXPECT_THROW(loss(), Error);
    return;
  }
  loss().backward();
  const bool constants = GetParam().options.method == "xl" || GetParam().options.method == "memorizing";
  for (auto& [name, t] : leaves) {
    if (!t.grad().defined() || t.numel() == 0) continue;
    // Directional derivative, along a random direction of the whole tensor.
    const Tensor direction = at::randn_like(t.detach()), analytic = (t.grad() * direction).sum();
    const auto at_distance = [&](double d) {
      const at::NoGradGuard none;
      t.add_(direction, d);
      const double value = loss().item<double>();
      t.sub_(direction, d);
      return value;
    };
    const double h = 1e-4;  // fourth order, so that the error is of rounding alone
    const double numeric =
        (8 * (at_distance(h) - at_distance(-h)) - (at_distance(2 * h) - at_distance(-2 * h))) / (12 * h);
    const double exact = analytic.item<double>();
    // Stored constants (a bank, a cache) move with the weights and have no gradient, so only the sign of life
    // counts there.
    if (constants) continue;
    EXPECT_NEAR(numeric, exact, 1e-5 * std::max(1.0, std::abs(exact))) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, Laws, ::testing::ValuesIn(law_cases()), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace mneme
