#include "io/tensorboard.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected
constexpr uint32_t kMaskDelta = 0xa282ead8;
constexpr uint32_t kDtString = 7;  // of tensorflow.DataType

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

template <class T>
std::string raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

// A protocol buffers message under construction.
class Message {
 public:
  Message& integer(uint32_t field, int64_t value) {
    varint(field << 3);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(uint32_t field, double value) {
    varint(field << 3 | 1);
    bytes_ += raw(value);
    return *this;
  }
  Message& single(uint32_t field, float value) {
    varint(field << 3 | 5);
    bytes_ += raw(value);
    return *this;
  }
  Message& bytes(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(uint32_t field, const Message& value) { return bytes(field, value.bytes_); }
  const std::string& str() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Message summary_event(int64_t step, const Message& value) {
  return Message().real(1, wall_time()).integer(2, step).message(5, Message().message(1, value));
}

std::string new_path(const std::string& folder) {
  static std::atomic<int> counter{0};
  char host[256] = "host";
  gethostname(host, sizeof host - 1);
  const std::string name = "events.out.tfevents." + std::to_string(static_cast<int64_t>(wall_time())) + "." +
                           host + "." + std::to_string(getpid()) + "." + std::to_string(counter++);
  return join_path(folder, name);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + kMaskDelta;
}

EventWriter::EventWriter(const std::string& folder) {
  make_folders(folder);
  path_ = new_path(folder);
  file_ = std::fopen(path_.c_str(), "wbxe");
  if (file_ == nullptr) {
    throw Error(Kind::resource, "cannot create " + path_ + ": " + std::strerror(errno),
                "check who may write there");
  }
  record(Message().real(1, wall_time()).bytes(3, "brain.Event:2").str());
}

EventWriter::~EventWriter() { std::fclose(file_); }

void EventWriter::record(const std::string& event) {
  const std::string length = raw(uint64_t{event.size()});
  std::string out = length + raw(masked_crc32c(length)) + event + raw(masked_crc32c(event));
  if (std::fwrite(out.data(), 1, out.size(), file_) != out.size()) {
    throw Error(Kind::resource, "cannot write " + path_ + ": " + std::strerror(errno),
                "free some disk space");
  }
}

void EventWriter::scalar(const std::string& tag, int64_t step, double value) {
  record(summary_event(step, Message().bytes(1, tag).single(2, static_cast<float>(value))).str());
}

void EventWriter::text(const std::string& tag, int64_t step, const std::string& markdown) {
  const Message plugin = Message().message(1, Message().bytes(1, "text"));
  const Message shape = Message().message(2, Message().integer(1, 1));
  const Message tensor = Message().integer(1, kDtString).message(2, shape).bytes(8, markdown);
  record(summary_event(step, Message().bytes(1, tag).message(9, plugin).message(8, tensor)).str());
}

void EventWriter::flush() {
  if (std::fflush(file_) != 0) {
    throw Error(Kind::resource, "cannot write " + path_ + ": " + std::strerror(errno),
                "free some disk space");
  }
}

}  // namespace mneme
