#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "io/tensorboard.h"

namespace mneme {
namespace {

[[noreturn]] void refuse_events(const std::string& where, const std::string& why) {
  throw Error(Kind::input, where + " is not a valid event file: " + why);
}

template <class T>
T number(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

struct Field {
  uint32_t id = 0, wire = 0;
  uint64_t integer = 0;    // wire 0, 1, 5 (the raw bits)
  std::string_view bytes;  // wire 2
};

// The fields of a protocol buffers message, one after another.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  bool next(Field& f) {
    if (at_ == bytes_.size()) return false;
    const uint64_t head = varint();
    if (head >> 3 == 0 || head >> 3 > (1U << 29)) refuse_events(where_, "a bad field");
    f = {static_cast<uint32_t>(head >> 3), static_cast<uint32_t>(head & 7), 0, {}};
    switch (f.wire) {
      case 0:
        f.integer = varint();
        return true;
      case 1:
        f.integer = number<uint64_t>(take(8));
        return true;
      case 2:
        f.bytes = take(varint());
        return true;
      case 5:
        f.integer = number<uint32_t>(take(4));
        return true;
      default:
        refuse_events(where_, "wire type " + std::to_string(f.wire));
    }
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse_events(where_, "a message is cut short");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    refuse_events(where_, "a number of more than 64 bits");
  }

  std::string_view bytes_;
  const std::string& where_;
  uint64_t at_ = 0;
};

// The last `id` of wire type 2 in a message, or nothing.
std::string_view child(std::string_view bytes, uint32_t id, const std::string& where) {
  std::string_view found;
  Fields fields(bytes, where);
  for (Field f; fields.next(f);) {
    if (f.id == id && f.wire == 2) found = f.bytes;
  }
  return found;
}

LoggedEvent::Value read_value(std::string_view bytes, const std::string& where) {
  LoggedEvent::Value out;
  Fields fields(bytes, where);
  for (Field f; fields.next(f);) {
    if (f.id == 1 && f.wire == 2) out.tag = f.bytes;
    if (f.id == 2 && f.wire == 5) {
      const auto bits = static_cast<uint32_t>(f.integer);
      std::memcpy(&out.number, &bits, sizeof bits);
    }
    if (f.id == 8 && f.wire == 2) {
      out.is_text = true;
      out.text = child(f.bytes, 8, where);
    }
    if (f.id == 9 && f.wire == 2) out.plugin = child(child(f.bytes, 1, where), 1, where);
  }
  return out;
}

LoggedEvent read_event(std::string_view bytes, const std::string& where) {
  LoggedEvent out;
  Fields fields(bytes, where);
  for (Field f; fields.next(f);) {
    if (f.id == 1 && f.wire == 1) std::memcpy(&out.wall_time, &f.integer, sizeof f.integer);
    if (f.id == 2 && f.wire == 0) out.step = static_cast<int64_t>(f.integer);
    if (f.id == 3 && f.wire == 2) out.version = f.bytes;
    if (f.id != 5 || f.wire != 2) continue;
    Fields summary(f.bytes, where);
    for (Field v; summary.next(v);) {
      if (v.id == 1 && v.wire == 2) out.values.push_back(read_value(v.bytes, where));
    }
  }
  return out;
}

}  // namespace

std::vector<LoggedEvent> parse_events(std::string_view bytes, const std::string& where) {
  constexpr size_t kHead = 12, kTail = 4;
  std::vector<LoggedEvent> out;
  while (bytes.size() >= kHead) {
    if (number<uint32_t>(bytes.substr(8)) != masked_crc32c(bytes.substr(0, 8)))
      refuse_events(where, "a wrong checksum");
    const auto length = number<uint64_t>(bytes);
    if (bytes.size() - kHead < kTail || length > bytes.size() - kHead - kTail) break;
    const std::string_view event = bytes.substr(kHead, length);
    if (number<uint32_t>(bytes.substr(kHead + length)) != masked_crc32c(event))
      refuse_events(where, "a wrong checksum");
    out.push_back(read_event(event, where));
    bytes.remove_prefix(kHead + length + kTail);
  }
  return out;
}

std::vector<LoggedEvent> read_events(const std::string& path) {
  const MappedFile file(path);
  return parse_events(file.text(), path);
}

}  // namespace mneme
