#include <array>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "io/gguf.h"

namespace mneme {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;  // the format's default, so it needs no key

constexpr float kLargest = 127.0F * 65504.0F;

class Bytes {
 public:
  template <class T>
  void number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void type(GgufType type) { number(static_cast<uint32_t>(type)); }
  void string(const std::string& s) {
    number(uint64_t{s.size()});
    text_ += s;
  }

  void setting(bool v) { scalar(GgufType::boolean, static_cast<uint8_t>(v)); }
  void setting(uint32_t v) { scalar(GgufType::u32, v); }
  void setting(int32_t v) { scalar(GgufType::i32, v); }
  void setting(uint64_t v) { scalar(GgufType::u64, v); }
  void setting(float v) { scalar(GgufType::f32, v); }
  void setting(const std::string& v) {
    type(GgufType::string);
    string(v);
  }
  void setting(const std::vector<int32_t>& v) { array(GgufType::i32, v); }
  void setting(const std::vector<float>& v) { array(GgufType::f32, v); }
  void setting(const std::vector<std::string>& v) {
    array_head(GgufType::string, v.size());
    for (const std::string& s : v) string(s);
  }
  void setting(const GgufRaw& v) {
    if (v.type == GgufType::array) {
      array_head(v.element, v.count);
    } else {
      type(v.type);
    }
    text_ += v.bytes;
  }

  const std::string& text() const { return text_; }

 private:
  template <class T>
  void scalar(GgufType t, T v) {
    type(t);
    number(v);
  }
  void array_head(GgufType element, uint64_t count) {
    type(GgufType::array);
    type(element);
    number(count);
  }
  template <class T>
  void array(GgufType element, const std::vector<T>& v) {
    array_head(element, v.size());
    text_.append(reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T));
  }

  std::string text_;
};

uint64_t padding(uint64_t at) { return (kAlignment - at % kAlignment) % kAlignment; }

void write_padding(AtomicFile& out) {
  static constexpr std::array<char, kAlignment> kZeros{};
  out.write(kZeros.data(), padding(out.position()));
}

void write_elements(AtomicFile& out, const GgufTensor& t) {
  const Tensor value = load_as_promised(t.source);
  if (const auto dtype = plain_dtype(t.type)) return write_tensor(out, value.to(*dtype));
  MNEME_CHECK(t.type == GgmlType::q8_0);
  const Tensor plain = value.detach().to(at::kCPU, at::kFloat).contiguous();
  // Also false for NaN. The scale of a block is an fp16 of largest / 127.
  if (plain.numel() > 0 && !(plain.abs().max().item<float>() <= kLargest)) {
    throw Error(Kind::numeric, "tensor '" + t.source.name + "' has values that Q8_0 cannot hold",
                "write it as F16 or BF16");
  }
  std::vector<uint8_t> blocks(ggml_bytes(t.type, plain.numel()));
  quantise_q8_0(plain, blocks.data());
  out.write(blocks.data(), blocks.size());
}

}  // namespace

void write_gguf(const std::string& path, const GgufSettings& settings,
                const std::vector<GgufTensor>& tensors) {
  Bytes head;
  for (const char c : std::string("GGUF")) head.number(c);
  head.number(kVersion);
  head.number(uint64_t{tensors.size()});
  head.number(uint64_t{settings.size()});
  for (const auto& [key, value] : settings) {
    head.string(key);
    std::visit([&](const auto& v) { head.setting(v); }, value);
  }
  uint64_t offset = 0;
  for (const GgufTensor& t : tensors) {
    const std::vector<int64_t>& shape = t.source.shape;
    const int64_t count = checked_numel(shape);
    MNEME_CHECK(count >= 0 && shape.size() <= 4, t.source.name);
    MNEME_CHECK(!is_quantised(t.type) || (!shape.empty() && shape.back() % kGgmlBlock == 0), t.source.name);
    head.string(t.source.name);
    head.number(static_cast<uint32_t>(shape.size()));
    for (auto n = shape.rbegin(); n != shape.rend(); ++n) head.number(static_cast<uint64_t>(*n));
    head.number(static_cast<uint32_t>(t.type));
    head.number(offset);
    offset += ggml_bytes(t.type, count);
    offset += padding(offset);
  }
  AtomicFile out(path);
  out.write(head.text());
  write_padding(out);
  for (const GgufTensor& t : tensors) {
    write_elements(out, t);
    write_padding(out);
  }
  out.commit();
}

}  // namespace mneme
