#include "text/json_fields.h"

#include "text/utf8.h"

namespace mneme {

using nlohmann::json;

const json& member(const json& o, const char* name) {
  static const json kNull;
  if (!o.is_object()) return kNull;
  const auto it = o.find(name);
  return it == o.end() ? kNull : *it;
}

bool field_bool(const json& o, const char* name, bool missing, const std::string& where) {
  return o.is_null() ? missing : JsonReader(o, where).boolean(name, missing);
}

int64_t field_int(const json& o, const char* name, int64_t missing, const std::string& where) {
  return o.is_null() ? missing : JsonReader(o, where).integer(name, missing);
}

std::string field_text(const json& o, const char* name, const std::string& missing,
                       const std::string& where) {
  return o.is_null() ? missing : JsonReader(o, where).string(name, missing);
}

std::string required_text(const json& o, const char* name, const std::string& where) {
  return JsonReader(o, where).string(name);
}

char32_t field_char(const json& o, const char* name, char32_t missing, const std::string& where) {
  const JsonReader reader(o, where);
  if (!reader.has(name)) return missing;
  const std::string text = reader.string(name);
  const Rune r = text.empty() ? Rune() : decode_rune(text.data(), text.data() + text.size());
  if (!r.valid || r.size != text.size()) reader.fail(name, "one character");
  return r.code;
}

const json& required_list(const json& o, const char* name, const std::string& where) {
  const JsonReader reader(o, where);
  const json& out = reader.at(name);
  if (!out.is_array()) reader.fail(name, "a list");
  return out;
}

}  // namespace mneme
