// Patterns of names: '*' stands for any characters, '?' for one, everything else for itself. Not of paths:
// '*' crosses slashes and dots.
#pragma once

#include <optional>
#include <string>

namespace mneme {

// What the first '*' stood for (empty without one); nothing where the whole name does not match.
std::optional<std::string> glob_match(const std::string& pattern, const std::string& name);

}  // namespace mneme
