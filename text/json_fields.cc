#include "text/json_fields.h"

#include "text/utf8.h"

namespace mneme {

using nlohmann::json;

void bad_field(const std::string& where, const std::string& field, const std::string& expected,
               const json& found) {
  std::string text = found.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  throw Error(Kind::input, where + ": '" + field + "' should be " + expected + ", found " + text);
}

const json& member(const json& o, const char* name) {
  static const json kNull;
  if (!o.is_object()) return kNull;
  const auto it = o.find(name);
  return it == o.end() ? kNull : *it;
}

std::string component_type(const json& config, const std::string& where, const char* family) {
  const json& type = member(config, "type");
  if (!type.is_string()) bad_field(where, std::string(family) + ".type", "a name", type);
  return type.get<std::string>();
}

bool field_bool(const json& o, const char* name, bool missing, const std::string& where) {
  const json& v = member(o, name);
  if (v.is_null()) return missing;
  if (!v.is_boolean()) bad_field(where, name, "true or false", v);
  return v.get<bool>();
}

int64_t field_int(const json& o, const char* name, int64_t missing, const std::string& where) {
  const json& v = member(o, name);
  if (v.is_null()) return missing;
  if (!v.is_number_integer()) bad_field(where, name, "an integer", v);
  if (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    bad_field(where, name, "a smaller integer", v);
  }
  return v.get<int64_t>();
}

std::string field_text(const json& o, const char* name, const std::string& missing,
                       const std::string& where) {
  const json& v = member(o, name);
  if (v.is_null()) return missing;
  if (!v.is_string()) bad_field(where, name, "a string", v);
  return v.get<std::string>();
}

std::string required_text(const json& o, const char* name, const std::string& where) {
  const json& v = member(o, name);
  if (!v.is_string()) bad_field(where, name, "a string", v);
  return v.get<std::string>();
}

char32_t field_char(const json& o, const char* name, char32_t missing, const std::string& where) {
  const json& v = member(o, name);
  if (v.is_null()) return missing;
  if (v.is_string()) {
    const auto text = v.get<std::string>();
    if (!text.empty()) {
      const Rune r = decode_rune(text.data(), text.data() + text.size());
      if (r.valid && r.size == text.size()) return r.code;
    }
  }
  bad_field(where, name, "one character", v);
}

const json& required_list(const json& o, const char* name, const std::string& where) {
  const json& v = member(o, name);
  if (!v.is_array()) bad_field(where, name, "a list", v);
  return v;
}

}  // namespace mneme
