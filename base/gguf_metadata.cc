#include "base/gguf_metadata.h"

#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"

namespace mneme {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read without swapping bytes");

constexpr uint64_t kMostPairs = 1 << 20;

struct Reader {
  std::string_view bytes;
  const std::string& where;
  uint64_t at = 0;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Kind::input, where + ": " + what + " at byte " + std::to_string(at),
                "the file is cut short or is not a GGUF file; fetch it again");
  }
  std::string_view take(uint64_t count) {
    if (count > bytes.size() - at) fail("GGUF metadata end inside a value");
    const std::string_view out = bytes.substr(at, count);
    at += count;
    return out;
  }
  template <class T>
  T number() {
    T out;
    std::memcpy(&out, take(sizeof(T)).data(), sizeof(T));
    return out;
  }
  std::string_view string() { return take(number<uint64_t>()); }
};

uint64_t size_of(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      break;
  }
  return 0;
}

GgufType read_type(Reader& in) {
  const auto type = in.number<uint32_t>();
  if (type > static_cast<uint32_t>(GgufType::f64)) in.fail("unknown GGUF value type " + std::to_string(type));
  return static_cast<GgufType>(type);
}

void skip_elements(Reader& in, GgufType type, uint64_t count) {
  if (type == GgufType::string) {
    for (uint64_t i = 0; i < count; ++i) in.string();
    return;
  }
  if (type == GgufType::array) in.fail("a GGUF array of arrays, which no model uses,");
  const uint64_t left = in.bytes.size() - in.at;
  if (count > left / size_of(type)) in.fail("GGUF metadata end inside an array");
  in.take(count * size_of(type));
}

GgufValue read_value(Reader& in) {
  GgufValue v;
  v.type = v.element = read_type(in);
  if (v.type == GgufType::array) {
    v.element = read_type(in);
    v.count = in.number<uint64_t>();
  }
  const uint64_t start = in.at;
  skip_elements(in, v.element, v.count);
  v.bytes = in.bytes.substr(start, in.at - start);
  return v;
}

template <class T>
T element(const GgufValue& v, uint64_t i) {
  T out;
  std::memcpy(&out, v.bytes.data() + i * sizeof(T), sizeof(T));
  return out;
}

std::optional<int64_t> integer_at(const GgufValue& v, uint64_t i) {
  switch (v.element) {
    case GgufType::u8:
    case GgufType::boolean:
      return element<uint8_t>(v, i);
    case GgufType::i8:
      return element<int8_t>(v, i);
    case GgufType::u16:
      return element<uint16_t>(v, i);
    case GgufType::i16:
      return element<int16_t>(v, i);
    case GgufType::u32:
      return element<uint32_t>(v, i);
    case GgufType::i32:
      return element<int32_t>(v, i);
    case GgufType::i64:
      return element<int64_t>(v, i);
    case GgufType::u64: {
      const auto u = element<uint64_t>(v, i);
      if (u > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(u);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> real_at(const GgufValue& v, uint64_t i) {
  if (v.element == GgufType::f32) return element<float>(v, i);
  if (v.element == GgufType::f64) return element<double>(v, i);
  if (const auto n = integer_at(v, i)) return static_cast<double>(*n);
  return std::nullopt;
}

[[noreturn]] void wrong_type(const GgufMetadata& m, std::string_view key, const GgufValue& v,
                             const char* expected) {
  std::string found = gguf_type_name(v.element);
  if (v.type == GgufType::array) found = "array of " + found;
  throw Error(Kind::input,
              m.where() + ": GGUF key '" + std::string(key) + "' should be " + expected + ", found " + found);
}

}  // namespace

const char* gguf_type_name(GgufType type) {
  static constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<uint32_t>(type)];
}

GgufMetadata GgufMetadata::parse(std::string_view bytes, const std::string& where) {
  GgufMetadata m;
  m.where_ = where;
  Reader in{bytes, m.where_};
  if (bytes.substr(0, 4) != "GGUF") in.fail("expected the letters GGUF, found something else");
  in.take(4);
  m.version_ = in.number<uint32_t>();
  if (m.version_ != 2 && m.version_ != 3) {
    in.fail("expected GGUF version 2 or 3 in little-endian bytes, found " + std::to_string(m.version_));
  }
  m.tensor_count_ = in.number<uint64_t>();
  const auto pairs = in.number<uint64_t>();
  if (pairs > kMostPairs) in.fail("too many GGUF keys: " + std::to_string(pairs));
  for (uint64_t i = 0; i < pairs; ++i) {
    std::string key(in.string());
    const GgufValue value = read_value(in);
    if (!m.values_.emplace(key, value).second) in.fail("the GGUF key '" + key + "' stands twice");
    m.keys_.push_back(std::move(key));
  }
  m.end_ = in.at;
  return m;
}

GgufMetadata GgufMetadata::load(const std::string& path) {
  auto file = std::make_shared<const MappedFile>(path);
  GgufMetadata m = parse(file->text(), path);
  m.file_ = std::move(file);
  return m;
}

std::vector<std::string> GgufMetadata::keys() const { return keys_; }

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

std::optional<std::string_view> GgufMetadata::text(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  if (v->type != GgufType::string) wrong_type(*this, key, *v, "a string");
  return v->bytes.substr(8);
}

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  const auto n = v->type == GgufType::array ? std::nullopt : integer_at(*v, 0);
  if (!n) wrong_type(*this, key, *v, "an integer below 2^63");
  return n;
}

std::optional<double> GgufMetadata::real(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  const auto n = v->type == GgufType::array ? std::nullopt : real_at(*v, 0);
  if (!n) wrong_type(*this, key, *v, "a number");
  return n;
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  if (v->type != GgufType::boolean) wrong_type(*this, key, *v, "a bool");
  return element<uint8_t>(*v, 0) != 0;
}

std::optional<std::vector<std::string_view>> GgufMetadata::texts(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  if (v->type != GgufType::array || v->element != GgufType::string) {
    wrong_type(*this, key, *v, "an array of strings");
  }
  std::vector<std::string_view> out;
  out.reserve(v->count);  // bounded: each string takes eight bytes of the file at least
  Reader in{v->bytes, where_};
  for (uint64_t i = 0; i < v->count; ++i) out.push_back(in.string());
  return out;
}

std::optional<std::vector<int64_t>> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  if (v->type != GgufType::array) wrong_type(*this, key, *v, "an array of integers");
  std::vector<int64_t> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) {
    const auto n = integer_at(*v, i);
    if (!n) wrong_type(*this, key, *v, "an array of integers below 2^63");
    out[i] = *n;
  }
  return out;
}

std::optional<std::vector<double>> GgufMetadata::reals(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return std::nullopt;
  if (v->type != GgufType::array) wrong_type(*this, key, *v, "an array of numbers");
  std::vector<double> out(v->count);
  for (uint64_t i = 0; i < v->count; ++i) {
    const auto n = real_at(*v, i);
    if (!n) wrong_type(*this, key, *v, "an array of numbers");
    out[i] = *n;
  }
  return out;
}

}  // namespace mneme
