// Typed access to the fields of small JSON objects in tokenizer files; every mismatch is an Error that names
// the file, the component and the field.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace mneme {

[[noreturn]] void bad_field(const std::string& where, const std::string& field, const std::string& expected,
                            const nlohmann::json& found);

// The "type" of a component.
std::string component_type(const nlohmann::json& config, const std::string& where, const char* family);

bool field_bool(const nlohmann::json& o, const char* name, bool missing, const std::string& where);
int64_t field_int(const nlohmann::json& o, const char* name, int64_t missing, const std::string& where);
// Absent and null give `missing`.
std::string field_text(const nlohmann::json& o, const char* name, const std::string& missing,
                       const std::string& where);
std::string required_text(const nlohmann::json& o, const char* name, const std::string& where);
char32_t field_char(const nlohmann::json& o, const char* name, char32_t missing, const std::string& where);
const nlohmann::json& required_list(const nlohmann::json& o, const char* name, const std::string& where);
// The value or a null.
const nlohmann::json& member(const nlohmann::json& o, const char* name);

}  // namespace mneme
