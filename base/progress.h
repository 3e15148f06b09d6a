// Where a long job stands: how much is done, rate, remaining time, resident memory.
//
//   reading  12,288 / 100,000 tokens  12%  1.2k/s  1:13 left  640 MB  loss 3.21
//
// On a terminal one line at the bottom, redrawn ten times a second at most; elsewhere a plain line (or a JSON
// line with --json) every five seconds and one at the end. Silent with --quiet. Cheap enough to call on every
// step; safe from any thread. Also here: the memory of this process.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace mneme {

uint64_t resident_bytes();       // of this process now; 0 where the system does not tell
uint64_t peak_resident_bytes();  // at most so far

class Progress {
 public:
  using Clock = std::function<double()>;  // seconds; tests bring their own
  // `area` as in the log, `what` the activity ("reading"), `unit` in the plural ("tokens"). Without a total
  // there is no share and no remaining time.
  Progress(std::string area, std::string what, std::string unit, std::optional<uint64_t> total,
           Clock clock = {});
  ~Progress();  // takes the line away; finish() is for success
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(uint64_t count = 1);
  void set(uint64_t done);             // absolute; may go back
  void start_from(uint64_t done);      // after a resume: done before, not counted in the rate
  void note(const std::string& text);  // stands at the end of the line: "loss 3.21"
  void finish();                       // a last line with the mean rate and the time taken

 private:
  void draw(double now, bool last);
  std::mutex mutex_;
  const std::string area_, what_, unit_;
  const std::optional<uint64_t> total_;
  const Clock clock_;
  const bool terminal_;
  std::string note_;
  uint64_t done_ = 0, first_ = 0;
  double started_ = 0, drawn_ = 0;
  // Rate: exponential mean over about ten seconds of (count, time) between draws.
  double counted_ = 0, elapsed_ = 0;
  uint64_t mark_done_ = 0;
  double mark_time_ = 0;
  bool finished_ = false;
};

}  // namespace mneme
