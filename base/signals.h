// SIGINT and SIGTERM as a wish that loops poll: finish the step, save, leave with 130 or 143.
//
//   StopSignals stop;
//   while (step < steps && !stop.requested()) ...
//   save();
//   return stop.exit_code();        // 0 when nobody asked
//
// The second signal ends the process at once. Outside of a StopSignals both signals do what they always do.
#pragma once

namespace mneme {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  bool requested() const { return signal() != 0; }
  int signal() const;  // SIGINT, SIGTERM or 0
  int exit_code() const { return signal() ? 128 + signal() : 0; }

 private:
  bool outermost_;
};

}  // namespace mneme
