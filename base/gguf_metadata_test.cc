#include "base/gguf_metadata.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace mneme {
namespace {

template <class T>
std::string raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

std::string str(std::string_view s) { return raw<uint64_t>(s.size()) + std::string(s); }

std::string key(std::string_view name, GgufType type) { return str(name) + raw(static_cast<uint32_t>(type)); }

std::string header(uint64_t pairs) {
  return "GGUF" + raw<uint32_t>(3) + raw<uint64_t>(7) + raw<uint64_t>(pairs);
}

std::string array(GgufType type, uint64_t count) { return raw(static_cast<uint32_t>(type)) + raw(count); }

std::string sample() {
  return header(6) + key("name", GgufType::string) + str("tiny") + key("layers", GgufType::u32) +
         raw<uint32_t>(5) + key("eps", GgufType::f32) + raw<float>(0.5f) + key("tie", GgufType::boolean) +
         raw<uint8_t>(1) + key("words", GgufType::array) + array(GgufType::string, 2) + str("a") + str("bc") +
         key("types", GgufType::array) + array(GgufType::i32, 3) + raw<int32_t>(-1) + raw<int32_t>(2) +
         raw<int32_t>(3);
}

TEST(GgufMetadata, ReadsEveryKind) {
  const std::string bytes = sample() + "the tensor table";
  const auto m = GgufMetadata::parse(bytes, "x.gguf");
  EXPECT_EQ(m.version(), 3u);
  EXPECT_EQ(m.tensor_count(), 7u);
  EXPECT_EQ(m.end(), sample().size());
  EXPECT_EQ(m.keys().size(), 6u);
  EXPECT_EQ(m.text("name"), "tiny");
  EXPECT_EQ(m.integer("layers"), 5);
  EXPECT_EQ(m.real("eps"), 0.5);
  EXPECT_EQ(m.boolean("tie"), true);
  EXPECT_EQ(m.texts("words"), (std::vector<std::string_view>{"a", "bc"}));
  EXPECT_EQ(m.integers("types"), (std::vector<int64_t>{-1, 2, 3}));
  EXPECT_EQ(m.reals("types"), (std::vector<double>{-1, 2, 3}));
  EXPECT_FALSE(m.text("absent"));
}

TEST(GgufMetadata, NamesKeyAndTypesOfAMismatch) {
  const std::string bytes = sample();
  const auto m = GgufMetadata::parse(bytes, "x.gguf");
  try {
    m.integer("name");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    EXPECT_NE(e.message().find("'name' should be an integer"), std::string::npos) << e.message();
    EXPECT_NE(e.message().find("found string"), std::string::npos) << e.message();
  }
  EXPECT_THROW(m.text("words"), Error);
  EXPECT_THROW(m.integers("words"), Error);
  EXPECT_THROW(m.boolean("layers"), Error);
}

TEST(GgufMetadata, EveryCutIsAnError) {
  const std::string bytes = sample();
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW(GgufMetadata::parse(std::string_view(bytes).substr(0, n), "x"), Error) << n;
  }
}

TEST(GgufMetadata, RefusesLyingLengths) {
  const auto parse = [](const std::string& bytes) { return GgufMetadata::parse(bytes, "x"); };
  EXPECT_THROW(parse(header(1) + raw<uint64_t>(~0ull)), Error);
  EXPECT_THROW(parse(header(1) + key("a", GgufType::array) + array(GgufType::f64, 1ull << 61)), Error);
  EXPECT_THROW(parse(header(1) + key("a", GgufType::array) + array(GgufType::string, ~0ull)), Error);
  EXPECT_THROW(parse(header(1) + key("a", GgufType::array) + array(GgufType::array, 1)), Error);
  EXPECT_THROW(parse(header(1ull << 40)), Error);
  EXPECT_THROW(parse(header(1) + str("a") + raw<uint32_t>(13)), Error);
  EXPECT_THROW(parse("GGUF" + raw<uint32_t>(1) + std::string(16, '\0')), Error);
  const std::string twice =
      header(2) + key("a", GgufType::u8) + raw<uint8_t>(1) + key("a", GgufType::u8) + raw<uint8_t>(2);
  EXPECT_THROW(parse(twice), Error);
}

}  // namespace
}  // namespace mneme
