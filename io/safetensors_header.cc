#include "io/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace mneme {
namespace {

using nlohmann::json;

constexpr size_t kMaxRank = 64;  // libtorch's own limit for iterating

class Reader final : public nlohmann::json_sax<json> {
 public:
  Reader(SafetensorsHeader& out, const std::string& where) : out_(out), where_(where) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(double, const std::string& text) override { unexpected("the number " + text); }
  bool number_integer(int64_t value) override { unexpected("the number " + std::to_string(value)); }
  bool binary(binary_t&) override { unexpected("binary"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::numbers) unexpected("a number");
    if (value > static_cast<uint64_t>(INT64_MAX)) refuse(path() + " is too large");
    if (numbers_->size() >= kMaxRank) refuse(path() + " has more than 64 entries");
    numbers_->push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      if (!out_.metadata.emplace(key_, std::move(value)).second)
        refuse("metadata key '" + key_ + "' occurs twice");
    } else if (place_ == Place::tensor && key_ == "dtype") {
      once("dtype");
      entry().dtype = std::move(value);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header) {
      const bool metadata = key_ == "__metadata__";
      if (!names_.insert(key_).second) refuse("'" + key_ + "' occurs twice");
      if (!metadata) out_.entries.emplace_back(key_, SafetensorsHeader::Entry{});
      seen_.clear();
      place_ = metadata ? Place::metadata : Place::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& value) override {
    key_ = std::move(value);
    if (place_ == Place::tensor && key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
      refuse("unknown key " + path());
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor && seen_.size() != 3) {
      refuse("tensor '" + out_.entries.back().first + "' lacks dtype, shape or data_offsets");
    }
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::tensor || key_ == "dtype") unexpected("an array");
    once(key_);
    numbers_ = key_ == "shape" ? &entry().shape : &entry().offsets;
    place_ = Place::numbers;
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception& error) override {
    refuse("bad JSON at byte " + std::to_string(position) + " of its header: " + error.what());
  }

 private:
  enum class Place { outside, header, metadata, tensor, numbers };

  SafetensorsHeader::Entry& entry() { return out_.entries.back().second; }
  std::string path() const {
    const bool inside = place_ == Place::tensor || place_ == Place::numbers;
    return inside ? "'" + out_.entries.back().first + "'." + key_ : "'" + key_ + "'";
  }
  [[noreturn]] void refuse(const std::string& why) const { refuse_safetensors(where_, why); }
  [[noreturn]] void unexpected(const std::string& what) const { refuse(what + " at " + path()); }
  void once(const std::string& key) {
    if (!seen_.insert(key).second) refuse(path() + " occurs twice");
  }

  SafetensorsHeader& out_;
  const std::string& where_;
  Place place_ = Place::outside;
  std::string key_;
  std::set<std::string> names_, seen_;  // of the header, of the tensor being read
  std::vector<int64_t>* numbers_ = nullptr;
};

}  // namespace

void refuse_safetensors(const std::string& where, const std::string& why) {
  throw Error(Kind::input, where + " is not a valid safetensors file: " + why, "download or write it again");
}

SafetensorsHeader read_safetensors_header(std::string_view text, const std::string& where) {
  if (text.empty() || text[0] != '{') refuse_safetensors(where, "its header does not start with '{'");
  SafetensorsHeader header;
  Reader reader(header, where);
  json::sax_parse(text, &reader);
  return header;
}

}  // namespace mneme
