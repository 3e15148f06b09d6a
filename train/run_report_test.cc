#include "train/run_report.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

std::string folder_with(const std::string& name, const std::string& metrics) {
  const std::string path = (std::filesystem::temp_directory_path() / ("mneme-report-" + name)).string();
  std::filesystem::remove_all(path);
  make_folders(path);
  write_file(join_path(path, "metrics.jsonl"), metrics);
  return path;
}

TEST(RunReport, ReadsWhatARunWrites) {
  const RunMetrics run = read_run(folder_with("whole",
                                              "{\"step\":1,\"loss\":2.5,\"note\":\"x\",\"hmt/distance\":3}\n"
                                              "{\"step\":2,\"loss\":null}\n{\"step\":3,\"loss\":1.5}\n"));
  ASSERT_EQ(run.curves.size(), 2U);
  EXPECT_EQ(run.curves.at("loss"), (std::vector<std::pair<double, double>>{{1, 2.5}, {3, 1.5}}));
}

TEST(RunReport, AHalfWrittenLineAtTheEndIsLeftOut) {
  EXPECT_EQ(
      read_run(folder_with("half", "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo")).curves.at("loss").size(),
      1U);
  EXPECT_THROW(read_run(folder_with("bad", "{\"step\":1,\"loss\":2}\nnothing\n{\"step\":2,\"loss\":2}\n")),
               Error);
  EXPECT_THROW(read_run(folder_with("empty", "")), Error);
  EXPECT_THROW(read_run("/nowhere"), Error);
}

TEST(RunReport, OnePageHoldsAllRunsAndNothingFromOutside) {
  RunMetrics a{"runs/<one>", {}}, b{"runs/two", {}};
  for (int i = 1; i <= 1000; ++i) a.curves["loss"].emplace_back(i, 3.0 / i);
  b.curves["loss"] = {{10, 2.0}};
  b.curves["rate"] = {{1, 0.5}, {2, 0.5}};
  const std::string page = run_report({a, b});
  EXPECT_NE(page.find("runs/&lt;one&gt;"), std::string::npos);
  EXPECT_EQ(page.find("<one>"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
  size_t lines = 0;
  for (size_t at = page.find("<polyline"); at != std::string::npos; at = page.find("<polyline", at + 1))
    ++lines;
  EXPECT_EQ(lines, 2U);            // run one's loss, run two's rate; a single point is a circle
  EXPECT_LT(page.size(), 40000U);  // a thousand points were averaged
  for (const char* outside : {"src=", "href=", "url(", "@import", "<script"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
}

// Every tag that opens is closed, in order.
TEST(RunReport, ThePageIsWellFormed) {
  RunMetrics a{"one & \"two\"", {}};
  a.curves["loss"] = {{1, 2.0}, {2, 1.0}};
  a.curves["rmt/<norm>"] = {{1, 2.0}};
  const std::string page = run_report({a, a});
  std::vector<std::string> open;
  for (size_t at = page.find('<', page.find("<html")); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = page.substr(at + 1, end - at - 1), name = tag.substr(0, tag.find(' '));
    if (tag.back() == '/' || name == "meta") continue;
    if (tag[0] != '/') {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    EXPECT_EQ("/" + open.back(), tag);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

}  // namespace
}  // namespace mneme
