#include "io/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "io/testing.h"

namespace mneme {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(Crc32c, KnownVectors) {  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string rising;
  for (char i = 0; i < 32; ++i) rising += i;
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(EventWriter, WhatIsWrittenIsRead) {
  TemporaryFolder folder;
  EventWriter writer(folder / "logs");
  writer.scalar("loss", 0, 2.5);
  writer.scalar("loss", -1, -0.125);
  writer.scalar("größe", int64_t{1} << 40, INFINITY);
  writer.text("config", 3, std::string(1000, 'x') + "\n| a |");
  writer.flush();
  EXPECT_THAT(writer.path(), HasSubstr("events.out.tfevents."));

  const auto events = read_events(writer.path());
  ASSERT_THAT(events, SizeIs(5));
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_GT(events[0].wall_time, 1.6e9);
  EXPECT_EQ(events[1].step, 0);
  EXPECT_EQ(events[1].values.at(0).tag, "loss");
  EXPECT_EQ(events[1].values.at(0).number, 2.5F);
  EXPECT_EQ(events[2].step, -1);
  EXPECT_EQ(events[2].values.at(0).number, -0.125F);
  EXPECT_EQ(events[3].step, int64_t{1} << 40);
  EXPECT_EQ(events[3].values.at(0).tag, "größe");
  EXPECT_EQ(events[3].values.at(0).number, INFINITY);
  EXPECT_TRUE(events[4].values.at(0).is_text);
  EXPECT_EQ(events[4].values.at(0).plugin, "text");
  EXPECT_EQ(events[4].values.at(0).text, std::string(1000, 'x') + "\n| a |");
}

// Step 300, then a summary of one value with tag "a" and the simple value 1, by event.proto and
// summary.proto.
TEST(EventWriter, WireFormatIsTensorFlows) {
  TemporaryFolder folder;
  EventWriter writer(folder.path());
  writer.scalar("a", 300, 1);
  writer.flush();
  const std::string bytes = read_file(writer.path());
  const std::string fixed("\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01\x61\x15\x00\x00\x80\x3f", 15);
  EXPECT_THAT(bytes, HasSubstr(fixed));
}

TEST(Events, ATornEndIsNoErrorButDamageIs) {
  TemporaryFolder folder;
  EventWriter writer(folder.path());
  writer.scalar("loss", 1, 2);
  writer.flush();
  const std::string whole = read_file(writer.path());
  EXPECT_THAT(parse_events(whole, "t"), SizeIs(2));
  EXPECT_THAT(parse_events(whole.substr(0, whole.size() - 1), "t"), SizeIs(1));
  EXPECT_THAT(parse_events(whole.substr(0, 5), "t"), SizeIs(0));
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    EXPECT_THROW(parse_events(damaged, "t"), Error) << i;
  }
}

TEST(EventWriter, UnwritablePlacesAreErrors) {
  TemporaryFolder folder;
  write_file(folder / "file", "x");
  EXPECT_THROW(EventWriter(folder / "file/logs"), Error);
}

}  // namespace
}  // namespace mneme
