#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "base/progress.h"

namespace mneme {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Log, PlainLinesNameTheArea) {
  const CaptureLog log;
  log_info("train", "step {} of {}", 3, 10);
  log_warning("io", "odd");
  EXPECT_EQ(log.text(), "[train] step 3 of 10\n[io] warning: odd\n");
}

TEST(Log, QuietLeavesWarnings) {
  const CaptureLog log({.quiet = true, .json = false});
  log_info("train", "step");
  log_error("io", "bad");
  EXPECT_EQ(log.text(), "[io] error: bad\n");
}

TEST(Log, JsonLinesParse) {
  const CaptureLog log({.quiet = false, .json = true});
  log_event(LogLevel::info, "train", "a \"quote\" and \xff", {{"loss", 1.5}});
  const auto line = nlohmann::json::parse(log.text());
  EXPECT_EQ(line["area"], "train");
  EXPECT_EQ(line["loss"], 1.5);
  EXPECT_EQ(line["level"], "info");
}

TEST(Log, ColourOnlyOnTerminalsAndWithoutNoColor) {
  ::unsetenv("NO_COLOR");
  {
    const CaptureLog log({}, true);
    log_info("a", "b");
    EXPECT_THAT(log.text(), HasSubstr("\x1b[36m[a]"));
  }
  ::setenv("NO_COLOR", "1", 1);
  {
    const CaptureLog log({}, true);
    log_info("a", "b");
    EXPECT_EQ(log.text(), "[a] b\n");
  }
  ::unsetenv("NO_COLOR");
}

TEST(Log, LinesGoAboveTheStatusLine) {
  ::setenv("NO_COLOR", "1", 1);
  const CaptureLog log({}, true);
  set_status_line("half");
  log_info("a", "b");
  set_status_line("");
  set_status_line("");
  ::unsetenv("NO_COLOR");
  EXPECT_EQ(log.text(), "\r\x1b[2Khalf\r\x1b[2K[a] b\nhalf\r\x1b[2K");
}

TEST(Progress, TerminalShowsShareRateAndTimeLeft) {
  const CaptureLog log({}, true);
  double now = 100;
  Progress progress("read", "reading", "tokens", 1000, [&] { return now; });
  progress.note("loss 2.5");
  now += 1;
  progress.advance(100);
  EXPECT_THAT(log.text(), HasSubstr("reading  100 / 1,000 tokens  10%  100/s  9.0 s left"));
  EXPECT_THAT(log.text(), HasSubstr("loss 2.5"));
  now += 0.01;
  progress.advance(1);
  EXPECT_THAT(log.text(), Not(HasSubstr("reading  101")));  // too soon to draw again
  now += 8.99;
  progress.advance(899);
  progress.finish();
  EXPECT_THAT(log.text(), HasSubstr("reading  1,000 / 1,000 tokens  100/s  in 10 s"));
}

TEST(Progress, PlainLinesComeEveryFiveSeconds) {
  const CaptureLog log;
  double now = 0;
  Progress progress("read", "reading", "tokens", std::nullopt, [&] { return now; });
  for (int i = 0; i < 12; ++i) {
    now += 1;
    progress.advance(10);
  }
  const std::string text = log.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, HasSubstr("[read] reading  50 tokens  10/s"));
  EXPECT_THAT(text, Not(HasSubstr("left")));
}

TEST(Progress, AResumeDoesNotCountInTheRate) {
  const CaptureLog log({.quiet = false, .json = true});
  double now = 0;
  Progress progress("train", "training", "steps", 1000, [&] { return now; });
  progress.start_from(500);
  now = 10;
  progress.set(600);
  const auto line = nlohmann::json::parse(log.text());
  EXPECT_EQ(line["progress"]["done"], 600);
  EXPECT_DOUBLE_EQ(line["progress"]["rate"].get<double>(), 10);
  EXPECT_DOUBLE_EQ(line["progress"]["seconds_left"].get<double>(), 40);
  EXPECT_GT(line["progress"]["resident_bytes"].get<int64_t>(), 1 << 20);
}

TEST(Progress, MemoryIsThatOfTheProcess) {
  const uint64_t before = resident_bytes();
  std::vector<char> block(64 << 20, 1);
  EXPECT_GE(resident_bytes(), before + (48 << 20)) << block[5];
  EXPECT_GE(peak_resident_bytes() + (1 << 20), resident_bytes());
}

TEST(Format, NumbersAsPeopleReadThem) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1234), "1.23k");
  EXPECT_EQ(format_count(999.6), "1.00k");
  EXPECT_EQ(format_count(1.25e8), "125M");
  EXPECT_EQ(format_bytes(640e6), "640 MB");
  EXPECT_EQ(format_bytes(1536), "1.54 kB");
  EXPECT_EQ(format_duration(0.42), "0.4 s");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_grouped(1), "1");
  EXPECT_EQ(format_grouped(1234567), "1,234,567");
}

}  // namespace
}  // namespace mneme
