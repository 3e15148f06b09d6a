#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"

namespace mneme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "files_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    make_folders(folder_ + "/inner");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string in(const std::string& name) const { return join_path(folder_, name); }
  std::string folder_;
};

TEST_F(Files, WritesAndReadsBack) {
  const std::string bytes("a\0b\xff", 4);
  write_file(in("x"), bytes);
  EXPECT_EQ(read_file(in("x")), bytes);
  EXPECT_EQ(file_size(in("x")), 4U);
  const MappedFile map(in("x"));
  EXPECT_EQ(map.text(), bytes);
  write_file(in("x"), "new");
  EXPECT_EQ(map.text(), bytes) << "a map keeps the file it opened";
  EXPECT_EQ(read_file(in("x")), "new");
  write_file(in("empty"), "");
  EXPECT_EQ(MappedFile(in("empty")).size(), 0U);
  EXPECT_GT(read_file("/proc/self/status").size(), 100U) << "files that report no size";
}

TEST_F(Files, NothingAppearsWithoutCommit) {
  write_file(in("x"), "old");
  {
    AtomicFile file(in("x"));
    file.write(std::string(1 << 20, 'y'));
    EXPECT_EQ(file.position(), 1U << 20);
    EXPECT_EQ(read_file(in("x")), "old");
  }
  EXPECT_EQ(read_file(in("x")), "old");
  EXPECT_THAT(list_folder(folder_), ElementsAre("inner", "x"));
}

TEST_F(Files, ManySmallAndOneLargeWriteKeepTheirOrder) {
  std::string expected;
  AtomicFile file(in("x"));
  for (int i = 0; i < 20000; ++i) {
    const std::string part = std::to_string(i) + (i == 777 ? std::string(500000, 'z') : "");
    file.write(part);
    expected += part;
  }
  file.commit();
  EXPECT_TRUE(read_file(in("x")) == expected);
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input) << e.what();
    return e.what();
  }
  return "nothing was thrown";
}

TEST_F(Files, ErrorsNamePathAndReason) {
  EXPECT_THAT(error_of([&] { read_file(in("none")); }), HasSubstr("none': No such file"));
  EXPECT_THAT(error_of([&] { read_file(folder_); }), HasSubstr("found a folder"));
  EXPECT_THAT(error_of([&] { MappedFile{in("none")}; }), HasSubstr("No such file"));
  EXPECT_THAT(error_of([&] { write_file(in("no/where"), "x"); }), HasSubstr("cannot create"));
  EXPECT_THAT(error_of([&] { write_file(in("inner"), "x"); }), HasSubstr("cannot rename"));
  EXPECT_THAT(error_of([&] { list_folder(in("none")); }), HasSubstr("cannot list"));
  write_file(in("x"), "12345");
  EXPECT_THAT(error_of([&] { read_file(in("x"), 4); }), HasSubstr("has 5 bytes, at most 4"));
  ASSERT_EQ(::mkfifo(in("pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_file(in("pipe")); }), HasSubstr("expected a file"));
}

TEST_F(Files, ListsSortedAndBySuffix) {
  write_file(in("b.json"), "");
  write_file(in("a.json"), "");
  EXPECT_THAT(list_folder(folder_), ElementsAre("a.json", "b.json", "inner"));
  EXPECT_THAT(list_folder(folder_, ".json"), ElementsAre("a.json", "b.json"));
  EXPECT_THAT(list_folder(in("inner")), IsEmpty());
}

TEST_F(Files, SmallHelpers) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("a", "/b"), "/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_TRUE(is_folder(folder_));
  EXPECT_FALSE(file_exists(folder_));
  remove_file(in("never"));
  MappedFile a;
  write_file(in("x"), "1");
  a = MappedFile(in("x"));
  const MappedFile b = std::move(a);
  EXPECT_EQ(b.text(), "1");
  b.advise(MappedFile::Advice::will_need);
}

}  // namespace
}  // namespace mneme
