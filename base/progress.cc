#include "base/progress.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/format.h"
#include "base/log.h"

namespace mneme {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double kTerminalPeriod = 0.1, kPlainPeriod = 5.0, kMemoryOfRate = 10.0;

}  // namespace

uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  unsigned long long whole = 0, resident = 0;
  const int read = std::fscanf(file, "%llu %llu", &whole, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t peak_resident_bytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<uint64_t>(usage.ru_maxrss) * 1024 : 0;
}

Progress::Progress(std::string area, std::string what, std::string unit, std::optional<uint64_t> total,
                   Clock clock)
    : area_(std::move(area)),
      what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      clock_(clock ? std::move(clock) : Clock(steady_seconds)),
      terminal_(log_is_terminal()) {
  started_ = drawn_ = mark_time_ = clock_();
}

Progress::~Progress() {
  if (!finished_ && terminal_) set_status_line("");
}

void Progress::advance(uint64_t count) {
  const std::lock_guard lock(mutex_);
  done_ += count;
  const double now = clock_();
  if (now - drawn_ >= (terminal_ ? kTerminalPeriod : kPlainPeriod)) draw(now, false);
}

void Progress::set(uint64_t done) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  const double now = clock_();
  if (now - drawn_ >= (terminal_ ? kTerminalPeriod : kPlainPeriod)) draw(now, false);
}

void Progress::start_from(uint64_t done) {
  const std::lock_guard lock(mutex_);
  done_ = first_ = mark_done_ = done;
}

void Progress::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  note_ = text;
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (terminal_) set_status_line("");
  draw(clock_(), true);
}

void Progress::draw(double now, bool last) {
  const double step = now - mark_time_;
  const double keep = std::exp(-step / kMemoryOfRate);
  counted_ = counted_ * keep + (done_ >= mark_done_ ? static_cast<double>(done_ - mark_done_) : 0);
  elapsed_ = elapsed_ * keep + step;
  mark_done_ = done_;
  mark_time_ = drawn_ = now;

  const double whole_time = now - started_;
  const double whole_count = done_ > first_ ? static_cast<double>(done_ - first_) : 0;
  const double rate = last           ? (whole_time > 0 ? whole_count / whole_time : 0)
                      : elapsed_ > 0 ? counted_ / elapsed_
                                     : 0;
  const bool bounded = total_ && *total_ > 0;
  const double left =
      bounded && rate > 0 && *total_ > done_ ? static_cast<double>(*total_ - done_) / rate : 0;
  const uint64_t memory = resident_bytes();

  std::string line = what_ + "  " + format_grouped(done_);
  if (bounded) line += " / " + format_grouped(*total_);
  line += " " + unit_;
  if (bounded && !last) line += "  " + std::to_string(100 * std::min(done_, *total_) / *total_) + "%";
  line += "  " + format_count(rate) + "/s";
  if (last) line += "  in " + format_duration(whole_time);
  if (!last && bounded && rate > 0) line += "  " + format_duration(left) + " left";
  if (memory) line += "  " + format_bytes(static_cast<double>(memory));
  if (!note_.empty()) line += "  " + note_;
  if (terminal_ && !last) return set_status_line(line);

  nlohmann::json fields = {
      {"done", done_}, {"unit", unit_}, {"rate", rate}, {"resident_bytes", memory}, {"seconds", whole_time}};
  if (bounded) fields["total"] = *total_;
  if (!last && bounded && rate > 0) fields["seconds_left"] = left;
  if (!note_.empty()) fields["note"] = note_;
  log_event(LogLevel::info, area_, line, {{"progress", fields}});
}

}  // namespace mneme
