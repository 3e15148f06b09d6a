#include "base/log.h"

#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"

namespace mneme {
namespace {

struct Log {
  std::mutex mutex;
  LogSettings settings;
  bool terminal = ::isatty(STDERR_FILENO) == 1;
  bool color = terminal && !no_color();
  std::string status;                  // what stands at the bottom of the terminal
  std::optional<std::string> capture;  // tests only

  static bool no_color() {
    const char* value = std::getenv("NO_COLOR");  // any value that is not empty: no-color.org
    return value && *value;
  }
  // One write for a line, so that lines of several processes do not mix.
  void put(const std::string& text) {
    if (capture) {
      *capture += text;
      return;
    }
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  }
};

Log& the_log() {
  static Log log;
  return log;
}

constexpr const char* kEraseLine = "\r\x1b[2K";

const char* name_of(LogLevel level) {
  return level == LogLevel::info ? "info" : level == LogLevel::warning ? "warning" : "error";
}

std::string json_line(LogLevel level, std::string_view area, std::string_view message,
                      const nlohmann::json& fields) {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  nlohmann::json line = fields.is_object() ? fields : nlohmann::json::object();
  line["time"] = static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_usec / 1000) / 1000.0;
  line["level"] = name_of(level);
  line["area"] = area;
  line["message"] = message;
  return dump_json(line) + "\n";
}

std::string plain_line(LogLevel level, std::string_view area, std::string_view message, bool color) {
  const auto paint = [&](const char* code, const std::string& text) {
    return color ? std::string("\x1b[") + code + "m" + text + "\x1b[0m" : text;
  };
  std::string line = paint("36", "[" + std::string(area) + "]") + " ";
  if (level == LogLevel::warning) line += paint("33", "warning: ");
  if (level == LogLevel::error) line += paint("31", "error: ");
  return line.append(message) + "\n";
}

}  // namespace

void configure_log(const LogSettings& settings) {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  log.settings = settings;
}

LogSettings log_settings() {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  return log.settings;
}

bool log_is_terminal() {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  return log.terminal && !log.settings.json;
}

void log_line(LogLevel level, std::string_view area, std::string_view message) {
  log_event(level, area, message, {});
}

void log_event(LogLevel level, std::string_view area, std::string_view message,
               const nlohmann::json& fields) {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (log.settings.quiet && level == LogLevel::info) return;
  if (log.settings.json) return log.put(json_line(level, area, message, fields));
  const std::string line = plain_line(level, area, message, log.color);
  log.put(log.status.empty() ? line : kEraseLine + line + log.status);
}

void set_status_line(const std::string& text) {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  if (!log.terminal || log.settings.json || log.settings.quiet) return;
  std::string shown = text;
  winsize size{};
  const bool known = !log.capture && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  const size_t columns = known ? size.ws_col - 1U : 110U;
  if (shown.size() > columns) shown.resize(columns);  // a wrapped line could not be erased
  if (shown.empty() && log.status.empty()) return;
  log.put(kEraseLine + shown);
  log.status = shown;
}

CaptureLog::CaptureLog(const LogSettings& settings, bool terminal) {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  MNEME_CHECK(!log.capture, "captures do not nest");
  log.capture.emplace();
  log.settings = settings;
  log.terminal = terminal;
  log.color = terminal && !Log::no_color();
}

CaptureLog::~CaptureLog() {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  log.capture.reset();
  log.settings = {};
  log.status.clear();
  log.terminal = ::isatty(STDERR_FILENO) == 1;
  log.color = log.terminal && !Log::no_color();
}

std::string CaptureLog::text() const {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  return *log.capture;
}

}  // namespace mneme
