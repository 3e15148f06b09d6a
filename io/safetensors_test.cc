#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "io/testing.h"

namespace mneme {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

std::string file_bytes(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  const uint64_t n = header.size();
  std::memcpy(out.data(), &n, 8);
  return out + header + data;
}

SafetensorsFile parse(const std::string& header, const std::string& data) {
  return SafetensorsFile::parse(copy_to_blob(file_bytes(header, data)), "t");
}

std::string refusal(const std::string& header, const std::string& data) {
  try {
    parse(header, data);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.message();
  }
  return "accepted";
}

TEST(Safetensors, RoundTripOfEveryDtypeIsByteEqual) {
  TemporaryFolder folder;
  NamedTensors tensors;
  for (const auto dtype : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf,
                           at::kBFloat16, at::kFloat, at::kDouble}) {
    tensors.emplace_back("t." + dtype_name(dtype), at::randint(0, 2, {3, 5}, at::kLong).to(dtype));
  }
  tensors.emplace_back("scalar", at::scalar_tensor(2.5, at::kFloat));
  tensors.emplace_back("empty", at::empty({0, 7}, at::kFloat));
  tensors.emplace_back("also empty", at::empty({4, 0}, at::kBFloat16));
  tensors.emplace_back("strided", at::arange(12, at::kInt).view({3, 4}).t());
  tensors.emplace_back("näme \"quoted\"\n", at::ones({1}));
  const Metadata metadata{{"format", "pt"}, {"note", "a\nb"}};
  write_safetensors(folder / "x.safetensors", tensors, metadata);

  const auto file = SafetensorsFile::open(folder / "x.safetensors");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(same_bytes(file.tensor(name), tensor)) << name;
    EXPECT_EQ(file.info(name).offset % c10::elementSize(tensor.scalar_type()), 0U) << name;
  }
}

TEST(Safetensors, TensorAliasesTheMappingAndKeepsItAlive) {
  TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", NamedTensors{{"a", at::arange(1000, at::kFloat)}});
  Tensor first, second;
  {
    const auto file = SafetensorsFile::open(folder / "x.safetensors");
    first = file.tensor("a");
    second = file.tensor("a");
    EXPECT_EQ(first.data_ptr(), second.data_ptr());
  }
  first.add_(1);  // private pages: the file stays as it was
  EXPECT_EQ(second[999].item<float>(), 1000.0F);
  EXPECT_EQ(SafetensorsFile::open(folder / "x.safetensors").tensor("a")[999].item<float>(), 999.0F);
}

TEST(Safetensors, OddOffsetsAreCopiedOut) {
  const std::string header =
      R"({"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const float values[] = {1.5F, -2};
  std::string data(9, '\x05');
  std::memcpy(data.data() + 1, values, sizeof values);
  const auto file = parse(header, data);
  const Tensor w = file.tensor("w");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(w.data_ptr()) % 4, 0U);
  EXPECT_EQ(w[0].item<float>(), 1.5F);
  EXPECT_EQ(w[1].item<float>(), -2.0F);
  EXPECT_EQ(file.tensor("b").item<int8_t>(), 5);
}

TEST(Safetensors, RefusesBadHeaders) {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string data(8, '\0');
  EXPECT_EQ(refusal(ok, data), "accepted");
  EXPECT_EQ(refusal(ok + "   ", data), "accepted");
  EXPECT_EQ(refusal("{}", ""), "accepted");
  EXPECT_THAT(refusal(ok, data + "x"), HasSubstr("1 bytes follow"));
  EXPECT_THAT(refusal(ok, data.substr(1)), HasSubstr("claims bytes 0 to 8 of 7"));
  EXPECT_THAT(refusal(" " + ok, data), HasSubstr("start with '{'"));
  EXPECT_THAT(refusal("", data), HasSubstr("start with '{'"));
  EXPECT_THAT(refusal(ok + "x", data), HasSubstr("bad JSON"));
  EXPECT_THAT(refusal("{\"a\xff\":{}}", data), HasSubstr("bad JSON"));
  EXPECT_THAT(refusal("[1]", data), HasSubstr("start with '{'"));
  const auto entry = [](const std::string& fields) { return R"({"a":{)" + fields + "}}"; };
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2])"), data), HasSubstr("lacks"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":[1])"), data),
              HasSubstr("unknown key"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F8","shape":[2],"data_offsets":[0,8])"), data),
              HasSubstr("unknown dtype 'F8'"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), data), HasSubstr("-2"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), data), HasSubstr("2.0"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), data),
              HasSubstr("does not fit"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"), data),
              HasSubstr("does not fit"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,8])"), data),
              HasSubstr("does not fit"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])"), data),
              HasSubstr("too large"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), data),
              HasSubstr("claims bytes"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,4,8])"), data),
              HasSubstr("3 data_offsets"));
  EXPECT_THAT(refusal(entry(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])"), data),
              HasSubstr("twice"));
  EXPECT_THAT(refusal(R"({"a":7})", data), HasSubstr("a number at 'a'"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"k":1}})", ""), HasSubstr("a number"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"k":"1","k":"2"}})", ""), HasSubstr("twice"));
  EXPECT_THAT(refusal(R"({"__metadata__":{},"__metadata__":{}})", ""), HasSubstr("twice"));
}

TEST(Safetensors, RefusesDuplicatesHolesAndOverlaps) {
  const auto two = [](const char* first, const char* second, const char* offsets) {
    return std::string(R"({")") + first + R"(":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},")" + second +
           R"(":{"dtype":"I8","shape":[4],"data_offsets":)" + offsets + "}}";
  };
  const std::string data(8, '\0');
  EXPECT_EQ(refusal(two("a", "b", "[4,8]"), data), "accepted");
  EXPECT_THAT(refusal(two("a", "a", "[4,8]"), data), HasSubstr("'a' occurs twice"));
  EXPECT_THAT(refusal(two("a", "b", "[3,7]"), data), HasSubstr("overlap"));
  EXPECT_THAT(refusal(two("a", "b", "[0,4]"), data), HasSubstr("overlap"));
  EXPECT_THAT(refusal(two("a", "b", "[5,9]"), data + "x"), HasSubstr("hole"));
}

TEST(Safetensors, RefusesTruncatedAndOversizedHeaders) {
  for (const std::string& bytes : {std::string("1234567"), std::string(8, '\xff'), std::string(8, '\0'),
                                   std::string("\x40\0\0\0\0\0\0\0{", 9)}) {
    EXPECT_THROW(SafetensorsFile::parse(copy_to_blob(bytes), "t"), Error);
  }
}

TEST(Safetensors, MissingFilesAndNamesAreInputErrors) {
  EXPECT_THROW(SafetensorsFile::open("no/such.safetensors"), Error);
  EXPECT_THROW(SafetensorsFile::open("."), Error);
  EXPECT_THROW(parse("{}", "").tensor("w"), Error);
}

TEST(Safetensors, AFailedWriteLeavesNothing) {
  TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", NamedTensors{{"a", at::ones({2})}});
  const std::vector<LazyTensor> broken{
      {"a", at::kFloat, {3}, []() -> Tensor { throw Error(Kind::input, "no"); }}};
  EXPECT_THROW(write_safetensors(folder / "x.safetensors", broken), Error);
  EXPECT_EQ(SafetensorsFile::open(folder / "x.safetensors").tensor("a").numel(), 2);
  EXPECT_THAT(folder.files(), UnorderedElementsAreArray({"x.safetensors"}));
  EXPECT_THROW(write_safetensors(folder / "no" / "x.safetensors", NamedTensors{{"a", at::ones({2})}}), Error);
  EXPECT_THROW(write_safetensors(folder / "y", NamedTensors{{"\xff", at::ones({2})}}), Error);
}

TEST(Safetensors, ReadsSharedModels) {
  const std::string model = shared_path("data/models/stories260K/model.safetensors");
  if (model.empty()) GTEST_SKIP();
  const auto file = SafetensorsFile::open(model);
  EXPECT_EQ(file.info("model.embed_tokens.weight").shape, (std::vector<int64_t>{512, 64}));
  NamedTensors all;
  for (const std::string& name : file.names()) all.emplace_back(name, file.tensor(name));
  TemporaryFolder folder;
  write_safetensors(folder / "copy", all, file.metadata());
  const auto copy = SafetensorsFile::open(folder / "copy");
  ASSERT_EQ(copy.names(), file.names());
  for (const std::string& name : file.names())
    EXPECT_TRUE(same_bytes(copy.tensor(name), file.tensor(name))) << name;
}

}  // namespace
}  // namespace mneme
