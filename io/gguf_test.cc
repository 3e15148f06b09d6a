#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "io/testing.h"

namespace mneme {
namespace {

using ::testing::HasSubstr;

GgufTensor lazy(const std::string& name, const Tensor& t, GgmlType type) {
  return {{name, t.scalar_type(), t.sizes().vec(), [t] { return t; }}, type};
}

TEST(Gguf, PlainTensorsRoundTripByteEqual) {
  TemporaryFolder folder;
  const Tensor a = at::randn({3, 5}), b = at::randn({7}).to(at::kHalf),
               c = at::randn({2, 3, 4}).to(at::kBFloat16);
  write_gguf(folder / "x.gguf",
             {{"general.architecture", std::string("llama")},
              {"n", uint32_t{7}},
              {"i", int32_t{-7}},
              {"big", uint64_t{1} << 40},
              {"x", 0.5F},
              {"yes", true},
              {"words", std::vector<std::string>{"a", "", "bc"}},
              {"scores", std::vector<float>{1, -2}},
              {"types", std::vector<int32_t>{3, 4}}},
             {lazy("a", a, GgmlType::f32), lazy("b", b, GgmlType::f16), lazy("c", c, GgmlType::bf16),
              lazy("half of a", a, GgmlType::f16), lazy("empty", at::empty({0, 4}), GgmlType::f32)});
  const auto file = GgufFile::open(folder / "x.gguf");
  EXPECT_EQ(file.metadata().text("general.architecture"), "llama");
  EXPECT_EQ(file.metadata().integer("n"), 7);
  EXPECT_EQ(file.metadata().integer("i"), -7);
  EXPECT_EQ(file.metadata().integer("big"), int64_t{1} << 40);
  EXPECT_EQ(file.metadata().real("x"), 0.5);
  EXPECT_EQ(file.metadata().boolean("yes"), true);
  EXPECT_THAT(*file.metadata().texts("words"), ::testing::ElementsAre("a", "", "bc"));
  EXPECT_THAT(*file.metadata().reals("scores"), ::testing::ElementsAre(1, -2));
  EXPECT_THAT(*file.metadata().integers("types"), ::testing::ElementsAre(3, 4));
  EXPECT_THAT(file.names(), ::testing::ElementsAre("a", "b", "c", "half of a", "empty"));
  EXPECT_TRUE(same_bytes(file.tensor("a"), a));
  EXPECT_TRUE(same_bytes(file.tensor("b"), b));
  EXPECT_TRUE(same_bytes(file.tensor("c"), c));
  EXPECT_TRUE(same_bytes(file.tensor("half of a"), a.to(at::kHalf)));
  EXPECT_EQ(file.tensor("a").data_ptr(), file.tensor("a").data_ptr());
}

TEST(Gguf, Q8RoundTripStaysWithinHalfAStep) {
  TemporaryFolder folder;
  const Tensor x = at::randn({64, 96});
  write_gguf(folder / "x.gguf", {},
             {lazy("x", x, GgmlType::q8_0), lazy("0", at::zeros({32}), GgmlType::q8_0)});
  const auto file = GgufFile::open(folder / "x.gguf");
  const Tensor back = file.tensor("x");
  const Tensor step = x.view({-1, 32}).abs().amax(1, true) / 127;  // [N, 1]
  // Half a step of rounding, and the scale itself is rounded to fp16: 127 * 2^-11 of a step more.
  EXPECT_TRUE(((back - x).view({-1, 32}).abs() <= step * 0.5625).all().item<bool>());
  EXPECT_TRUE(at::equal(file.tensor("0"), at::zeros({32})));
  EXPECT_TRUE(same_bytes(file.tensor("x", at::kBFloat16), back.to(at::kBFloat16)));
  EXPECT_TRUE(same_bytes(file.tensor("x", at::kHalf), back.to(at::kHalf)));
  EXPECT_TRUE(same_bytes(file.tensor("x", at::kDouble), back.to(at::kDouble)));
  // What was quantised once stays as it is.
  write_gguf(folder / "y.gguf", {}, {lazy("x", back, GgmlType::q8_0)});
  EXPECT_TRUE(at::allclose(GgufFile::open(folder / "y.gguf").tensor("x"), back, 1e-3, 1e-6));
}

TEST(Gguf, Q8RefusesWhatItCannotHold) {
  TemporaryFolder folder;
  for (const float bad : {NAN, INFINITY, 1e9F}) {
    const GgufTensor t = lazy("x", at::full({32}, bad, at::kFloat), GgmlType::q8_0);
    EXPECT_THROW(write_gguf(folder / "x.gguf", {}, {t}), Error) << bad;
  }
  EXPECT_TRUE(folder.files().empty());
}

TEST(Gguf, Q4BlocksAreDequantisedByTheirDefinition) {
  uint8_t block[18];
  const c10::Half scale(0.25F);
  std::memcpy(block, &scale, 2);
  for (int i = 0; i < 16; ++i) block[2 + i] = static_cast<uint8_t>(i | ((15 - i) << 4));
  Tensor out = at::empty({32});
  dequantise(GgmlType::q4_0, block, out);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[i].item<float>(), 0.25F * static_cast<float>(i - 8));
    EXPECT_EQ(out[i + 16].item<float>(), 0.25F * static_cast<float>(7 - i));
  }
}

template <class T>
std::string number(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string join(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}
std::string text(const std::string& s) { return join({number(uint64_t{s.size()}), s}); }
std::string row(const std::string& name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
  std::string out = join({text(name), number(static_cast<uint32_t>(dims.size()))});
  for (const uint64_t d : dims) out += number(d);
  return join({out, number(type), number(offset)});
}
// No metadata; `rows` make up the table, then zeros up to the data and `bytes` of them.
std::string file_of(uint64_t count, const std::string& rows, size_t bytes) {
  std::string out = join({"GGUF", number(uint32_t{3}), number(count), number(uint64_t{0}), rows});
  out.resize((out.size() + 31) / 32 * 32 + bytes);
  return out;
}
std::string refusal(const std::string& bytes) {
  try {
    GgufFile::parse(copy_to_blob(bytes), "t");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.message();
  }
  return "accepted";
}

TEST(Gguf, RefusesBadTables) {
  EXPECT_EQ(refusal(file_of(1, row("a", {4, 2}, 0, 0), 32)), "accepted");
  EXPECT_EQ(refusal(file_of(1, row("a", {32, 2}, 2, 0), 36)), "accepted");
  EXPECT_THAT(refusal(file_of(1, row("a", {4, 2}, 0, 0), 31)), HasSubstr("outside of the file"));
  EXPECT_THAT(refusal(file_of(1, row("a", {4}, 0, 4), 64)), HasSubstr("unaligned"));
  EXPECT_THAT(refusal(file_of(1, row("a", {4}, 0, uint64_t{1} << 63), 64)), HasSubstr("outside of the file"));
  EXPECT_THAT(refusal(file_of(1, row("a", {4}, 12, 0), 64)), HasSubstr("type Q4_K"));
  EXPECT_THAT(refusal(file_of(1, row("a", {4}, 999, 0), 64)), HasSubstr("type 999"));
  EXPECT_THAT(refusal(file_of(1, row("a", {33}, 8, 0), 64)), HasSubstr("whole blocks"));
  EXPECT_THAT(refusal(file_of(1, row("a", {}, 8, 0), 64)), HasSubstr("whole blocks"));
  EXPECT_THAT(refusal(file_of(1, row("a", {1, 1, 1, 1, 1}, 0, 0), 64)), HasSubstr("5 dimensions"));
  EXPECT_THAT(refusal(file_of(1, row("a", {uint64_t{1} << 63}, 0, 0), 64)), HasSubstr("impossible shape"));
  EXPECT_THAT(refusal(file_of(1, row("a", {uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0), 64)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(refusal(file_of(2, row("a", {4}, 0, 0) + row("a", {4}, 0, 32), 64)), HasSubstr("occurs twice"));
  EXPECT_THAT(refusal(file_of(2, row("a", {16}, 0, 0) + row("b", {4}, 0, 32), 64)), HasSubstr("overlap"));
  EXPECT_THAT(refusal(file_of(uint64_t{1} << 60, row("a", {4}, 0, 0), 64)), HasSubstr("cut short"));
}

}  // namespace
}  // namespace mneme
