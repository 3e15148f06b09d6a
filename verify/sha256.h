// SHA-256 (FIPS 180-4) of a text in hexadecimal: long texts stand in reference cases as their sum. Not for
// secrets.
#pragma once

#include <string>
#include <string_view>

namespace mneme {

std::string sha256(std::string_view text);

}  // namespace mneme
