// The header and the key/value pairs of a GGUF file (versions 2 and 3, little-endian). It is read-only and
// knows neither tensors nor what a key means: io/gguf reads the tensor table, which starts at `end()`.
//
// Strings and arrays are views into the parsed bytes; a GgufMetadata from load() keeps the mapping alive, one
// from parse() needs the caller's bytes to live as long.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace mneme {

enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

const char* gguf_type_name(GgufType type);

struct GgufValue {
  GgufType type = GgufType::u8;     // array: see `element`
  GgufType element = GgufType::u8;  // of an array; equals `type` otherwise
  uint64_t count = 1;               // elements
  std::string_view bytes;           // the elements as stored; strings keep their 8-byte lengths
};

class GgufMetadata {
 public:
  static GgufMetadata parse(std::string_view bytes, const std::string& where);
  static GgufMetadata load(const std::string& path);

  uint32_t version() const { return version_; }
  uint64_t tensor_count() const { return tensor_count_; }
  uint64_t end() const { return end_; }  // offset of the byte after the last pair
  const std::string& where() const { return where_; }
  std::vector<std::string> keys() const;  // in the order of the file
  const GgufValue* find(std::string_view key) const;

  // Typed views. An absent key gives nullopt; a value of another kind is an Error that names key and types.
  // Any integer type serves as integer if it fits, any number as real.
  std::optional<std::string_view> text(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> real(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::vector<std::string_view>> texts(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<double>> reals(std::string_view key) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::string where_;
  uint32_t version_ = 0;
  uint64_t tensor_count_ = 0, end_ = 0;
  std::vector<std::string> keys_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

}  // namespace mneme
