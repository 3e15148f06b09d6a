#include "io/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "io/safetensors.h"
#include "io/testing.h"

namespace mneme {
namespace {

using ::testing::HasSubstr;

class SavedState : public ::testing::TestWithParam<const char*> {};

TEST_P(SavedState, HoldsWhatPytorchWrote) {
  const auto file = TorchFile::open(std::string("testdata/torch/") + GetParam());
  EXPECT_EQ(file.names().size(), 18U);
  EXPECT_EQ(file.names().front(), "dtype.float64");
  for (const auto dtype :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar}) {
    const Tensor expected = at::arange(6).view({2, 3}).remainder(5).to(dtype);
    EXPECT_TRUE(same_bytes(file.tensor("dtype." + dtype_name(dtype)), expected)) << dtype;
  }
  EXPECT_TRUE(same_bytes(file.tensor("dtype.uint8"), at::arange(6).view({2, 3}).remainder(5).to(at::kByte)));
  EXPECT_TRUE(same_bytes(file.tensor("dtype.bool"), at::arange(6).view({2, 3}).remainder(5).to(at::kBool)));
  const Tensor base = at::arange(24, at::kFloat);
  EXPECT_TRUE(same_bytes(file.tensor("shared.a"), base.slice(0, 0, 12).view({3, 4})));
  EXPECT_TRUE(same_bytes(file.tensor("shared.b"), base.slice(0, 6, 18).view({2, 6})));
  EXPECT_TRUE(same_bytes(file.tensor("transposed"), base.view({4, 6}).t()));
  EXPECT_TRUE(same_bytes(file.tensor("strided"), base.slice(0, 1, 24, 3)));
  EXPECT_TRUE(same_bytes(file.tensor("expanded"), at::tensor({7.0F, 8.0F}).view({2, 1}).expand({2, 3})));
  EXPECT_TRUE(same_bytes(file.tensor("scalar"), at::scalar_tensor(2.5, at::kFloat)));
  EXPECT_TRUE(same_bytes(file.tensor("empty"), at::empty({0, 3})));
  EXPECT_TRUE(same_bytes(file.tensor("parameter"), at::tensor({1.0F, -1.0F})));
}

INSTANTIATE_TEST_SUITE_P(TorchFile, SavedState,
                         ::testing::Values("state.bin", "state_old.bin", "state_protocol4.bin",
                                           "state_deflated.bin", "state_zip64.bin"));

TEST(TorchFile, TensorsOfOneStorageShareIt) {
  for (const char* name : {"testdata/torch/state.bin", "testdata/torch/state_deflated.bin"}) {
    const auto file = TorchFile::open(name);
    Tensor a = file.tensor("shared.a");
    const Tensor b = file.tensor("shared.b");
    a.view(-1)[6] = 99;
    EXPECT_EQ(b[0][0].item<float>(), 99.0F) << name;
  }
}

TEST(TorchFile, NestedCheckpointsGetPaths) {
  const auto file = TorchFile::open("testdata/torch/checkpoint.bin");
  EXPECT_EQ(file.info("model.0.weight").shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(file.info("model.1.bias").shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(file.info("optimizer.state.3.exp_avg").shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(file.tensor("optimizer.state.0.step").item<float>(), 1.0F);
  EXPECT_EQ(file.tensor("history.0").item<float>(), 1.0F);
  EXPECT_EQ(file.tensor("history.1.loss").item<float>(), 0.5F);
  EXPECT_EQ(TorchFile::open("testdata/torch/tensor.bin").info("").shape, (std::vector<int64_t>{1, 2, 3}));
}

std::string refusal(const std::string& bytes) {
  try {
    TorchFile::parse(copy_to_blob(bytes), "t");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.message();
  }
  return "accepted";
}

TEST(TorchFile, UnknownGlobalsAreNamed) {
  try {
    TorchFile::open("testdata/torch/module.bin");
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("'torch.nn.modules.linear.Linear'"));
  }
}

std::string join(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

// The old format around a pickle of our own: magic, version, system, object, keys, storages.
std::string old_file(const std::string& object, const std::string& tail) {
  const std::string start(
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.", 25);
  return join({start, "\x80\x02", object, ".", tail});
}

std::string text(const std::string& s) { return join({"U", std::string(1, static_cast<char>(s.size())), s}); }

// A dict of one tensor of a FloatStorage of 4 elements.
std::string tensor_dict(const std::string& offset, const std::string& shape, const std::string& strides) {
  return join({"}", text("w"), "ctorch._utils\n_rebuild_tensor_v2\n((", text("storage"),
               "ctorch\nFloatStorage\n", text("0"), text("cpu"), "K\x04tQ", offset, "(", shape, "t(", strides,
               "t\x89}tRs"});
}

// The list of storage keys and the storage, of `count` zeros.
std::string floats(char count) {
  return join({"\x80\x02]", text("0"), "a.", std::string(1, count), std::string(7, '\0'),
               std::string(static_cast<size_t>(count) * 4, '\0')});
}

TEST(TorchFile, RefusesViewsOutsideOfTheirStorage) {
  const std::string tail = floats(4);
  const std::string two("K\x02", 2), zero("K\0", 2), one("K\x01", 2), three("K\x03", 2);
  EXPECT_EQ(refusal(old_file(tensor_dict(zero, two + two, two + one), tail)), "accepted");
  EXPECT_THAT(refusal(old_file(tensor_dict(one, two + two, two + one), tail)),
              HasSubstr("outside of its storage"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, two + two, three + one), tail)),
              HasSubstr("outside of its storage"));
  EXPECT_THAT(refusal(old_file(tensor_dict("J\xff\xff\xff\xff", two, one), tail)),
              HasSubstr("outside of its storage"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, "J\xff\xff\xff\xff", one), tail)), HasSubstr("bad shape"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, two, one + one), tail)), HasSubstr("bad shape"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, two, one), floats(3))), HasSubstr("12 bytes instead of 16"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, two, one), tail.substr(0, 20))), HasSubstr("cut short"));
  const std::string huge("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, huge, zero), tail)), HasSubstr("repeats"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, huge + huge, one + one), tail)), HasSubstr("bad shape"));
  EXPECT_THAT(refusal(old_file(tensor_dict(zero, two + two, huge + huge), tail)),
              HasSubstr("impossible strides"));
  EXPECT_THAT(refusal(old_file(tensor_dict(huge, two, one), tail)), HasSubstr("outside of its storage"));
}

TEST(TorchFile, RefusesHostilePrograms) {
  const std::string tail = "\x80\x02].";
  EXPECT_EQ(refusal(old_file("}", tail)), "accepted");
  EXPECT_THAT(refusal(old_file(join({"cos\nsystem\n", text("true"), "\x85R"}), tail)),
              HasSubstr("'os.system'"));
  EXPECT_THAT(refusal(old_file("0", tail)), HasSubstr("the stack is empty"));
  EXPECT_THAT(refusal(old_file("u", tail)), HasSubstr("no mark"));
  EXPECT_THAT(refusal(old_file("}}", tail)), HasSubstr("ends with 2 values"));
  EXPECT_THAT(refusal(old_file("h\x05", tail)), HasSubstr("memo 5"));
  EXPECT_THAT(refusal(old_file("X\xff\xff\xff\x7f", tail)), HasSubstr("cut short"));
  EXPECT_THAT(refusal(old_file("}Na", tail)), HasSubstr("not a list"));
  EXPECT_THAT(refusal(old_file("I1\n", tail)), HasSubstr("operation 73"));
  EXPECT_THAT(refusal(old_file("]q\x01h\x01"
                               "a",
                               tail)),
              HasSubstr("contains itself"));
  EXPECT_THAT(refusal(old_file(std::string(3000, ']') + std::string(2999, 'a'), tail)),
              HasSubstr("nested deeper"));
  std::string bomb = "(]q" + std::string(1, '\0');  // 2^59 paths through 60 lists
  for (char i = 1; i < 60; ++i) {
    const std::string last(1, static_cast<char>(i - 1));
    bomb += join({"(h", last, "h", last, "lq", std::string(1, i)});
  }
  EXPECT_THAT(refusal(old_file(bomb + "l", tail)), HasSubstr("too large"));
}

TEST(TorchFile, RefusesBrokenArchives) {
  const Blob blob = map_file("testdata/torch/state.bin");
  const std::string whole(reinterpret_cast<const char*>(blob.data), blob.size);
  EXPECT_EQ(refusal(whole), "accepted");
  for (size_t cut = 1; cut < whole.size(); cut += 97) {
    EXPECT_THAT(refusal(whole.substr(0, whole.size() - cut)), HasSubstr("not a valid")) << cut;
  }
  EXPECT_THAT(refusal(""), HasSubstr("neither"));
  EXPECT_THAT(refusal("torch"), HasSubstr("neither"));
}

TEST(TorchFile, ReadsSharedModels) {
  const std::string half = shared_path("data/models/stories260K-variants/pytorch-bin-fp16/pytorch_model.bin");
  const std::string full = shared_path("data/models/stories260K/model.safetensors");
  const std::string bloom = shared_path("data/models/tiny-bloom/pytorch_model.bin");
  if (half.empty()) GTEST_SKIP() << "no shared data";
  const auto file = TorchFile::open(half);
  const auto reference = SafetensorsFile::open(full);
  for (const std::string& name : reference.names()) {
    EXPECT_TRUE(same_bytes(file.tensor(name), reference.tensor(name).to(at::kHalf))) << name;
  }
  EXPECT_EQ(file.tensor("lm_head.weight").data_ptr(), file.tensor("model.embed_tokens.weight").data_ptr());
  const auto random = TorchFile::open(bloom);
  EXPECT_EQ(random.info("transformer.word_embeddings.weight").shape, (std::vector<int64_t>{1024, 32}));
  for (const std::string& name : random.names())
    EXPECT_TRUE(random.tensor(name).isfinite().all().item<bool>()) << name;
}

}  // namespace
}  // namespace mneme
