// Event files for TensorBoard: TFRecords (u64 length, masked CRC32C of it, bytes, masked CRC32C of them) of
// Event messages in protocol buffers' wire format. Written: scalars and texts. Read (by tests and by
// `report`): the same. Not here: histograms, images, other writers' compressed files.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

// Appends to a new file in `folder`, events.out.tfevents.<time>.<host>.<pid>.<n>; every flush leaves whole
// records.
class EventWriter {
 public:
  explicit EventWriter(const std::string& folder);
  ~EventWriter();  // flushes; errors at this point are lost, so flush() before
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void scalar(const std::string& tag, int64_t step, double value);
  void text(const std::string& tag, int64_t step, const std::string& markdown);
  void flush();  // throws Error{resource}
  const std::string& path() const { return path_; }

 private:
  void record(const std::string& event);
  std::string path_;
  std::FILE* file_ = nullptr;
};

struct LoggedEvent {
  double wall_time = 0;
  int64_t step = 0;
  std::string version;  // of the first event only: "brain.Event:2"
  struct Value {
    std::string tag, plugin;
    bool is_text = false;
    float number = 0;
    std::string text;
  };
  std::vector<Value> values;
};

// A record cut short at the end, as a killed writer leaves it, ends the list; anything else wrong is
// Error{input}.
std::vector<LoggedEvent> parse_events(std::string_view bytes, const std::string& where);
std::vector<LoggedEvent> read_events(const std::string& path);

}  // namespace mneme
