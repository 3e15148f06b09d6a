// Errors. What the user did wrong throws Error; a bug in mneme is MNEME_CHECK. Nothing aborts, nothing prints
// and goes on. One catch in main() maps kinds to exit codes.
//
// A message says what was expected, what was found and where; the hint says what to do about it.
#pragma once

#include <exception>
#include <string>

namespace mneme {

enum class Kind {  // the value is the process's exit code
  failure = 1,     // a bug, or something that no other kind names
  usage = 2,       // flags, configuration
  input = 3,       // files, texts, data
  resource = 4,    // memory, disk, devices
  numeric = 5,     // NaN, divergence
};

class Error : public std::exception {
 public:
  Error(Kind kind, std::string message, std::string hint = {});
  Kind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const char* what() const noexcept override { return whole_.c_str(); }  // message, and the hint after it

 private:
  Kind kind_;
  std::string message_, hint_, whole_;
};

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& note);

}  // namespace mneme

// An invariant of mneme itself. The optional second argument is a std::string with the values involved.
#define MNEME_CHECK(condition, ...)                                                                    \
  do {                                                                                                 \
    if (!(condition)) ::mneme::check_failed(__FILE__, __LINE__, #condition, std::string{__VA_ARGS__}); \
  } while (false)
