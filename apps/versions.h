// What was computed with: a part of every report that is to be compared with another.
#pragma once

#include <nlohmann/json.hpp>

namespace mneme {

const char* version();      // of mneme
nlohmann::json versions();  // of mneme, libtorch, oneDNN and the compiler

}  // namespace mneme
