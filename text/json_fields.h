// Fields of small JSON objects in tokenizer files, on base/json.h: `where` names the file in errors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace mneme {

// The value, or a null where there is none or `o` is no object.
const nlohmann::json& member(const nlohmann::json& o, const char* name);

// Absent and null give `missing`, and so does a null object.
bool field_bool(const nlohmann::json& o, const char* name, bool missing, const std::string& where);
int64_t field_int(const nlohmann::json& o, const char* name, int64_t missing, const std::string& where);
std::string field_text(const nlohmann::json& o, const char* name, const std::string& missing,
                       const std::string& where);
char32_t field_char(const nlohmann::json& o, const char* name, char32_t missing, const std::string& where);
std::string required_text(const nlohmann::json& o, const char* name, const std::string& where);
const nlohmann::json& required_list(const nlohmann::json& o, const char* name, const std::string& where);

}  // namespace mneme
