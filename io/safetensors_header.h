// The JSON header of a safetensors file, read event by event: a document object would cost ten times the
// header's size and would let the last of two equal names win. Only the JSON's form is checked here;
// io/safetensors.cc checks what shapes and offsets mean.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mneme {

struct SafetensorsHeader {
  struct Entry {
    std::string dtype;
    std::vector<int64_t> shape, offsets;  // nothing negative
  };
  std::vector<std::pair<std::string, Entry>> entries;  // names are distinct
  std::map<std::string, std::string> metadata;
};

// Throws Error{input} naming `where`.
SafetensorsHeader read_safetensors_header(std::string_view text, const std::string& where);

[[noreturn]] void refuse_safetensors(const std::string& where, const std::string& why);

}  // namespace mneme
