// The log: lines on stderr, each with the area it comes from. Results do not go here (they go to stdout).
//
//   log_info("train", "step {} of {}", step, steps);      [train] step 3 of 10
//
// Colour only on a terminal and without NO_COLOR; --quiet leaves warnings; --json makes every line a JSON
// object. A progress line (base/progress.h) stays at the bottom: lines are written above it. Safe from any
// thread.
#pragma once

#include <fmt/core.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace mneme {

enum class LogLevel { info, warning, error };

struct LogSettings {
  bool quiet = false;
  bool json = false;
};

void configure_log(const LogSettings& settings);  // once, at the start of a command
LogSettings log_settings();
bool log_is_terminal();

void log_line(LogLevel level, std::string_view area, std::string_view message);
// A line with fields of its own in the JSON form; people see `message`.
void log_event(LogLevel level, std::string_view area, std::string_view message, const nlohmann::json& fields);

template <class... Args>
void log_info(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::info, area, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::warning, area, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(std::string_view area, fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::error, area, fmt::format(format, std::forward<Args>(args)...));
}

// The line at the bottom of a terminal; empty removes it. Ignored when stderr is no terminal.
void set_status_line(const std::string& text);

// For tests: collects what would go to stderr, as if it were (or were no) terminal, and restores all at its
// end.
class CaptureLog {
 public:
  explicit CaptureLog(const LogSettings& settings = {}, bool terminal = false);
  ~CaptureLog();
  CaptureLog(const CaptureLog&) = delete;
  CaptureLog& operator=(const CaptureLog&) = delete;
  std::string text() const;
};

}  // namespace mneme
