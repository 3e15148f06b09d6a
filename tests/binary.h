// The mneme binary as a user starts it: for end-to-end tests.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace mneme {

class Process {
 public:
  // Both outputs go to the file `log`.
  Process(const std::vector<std::string>& arguments, const std::string& log);
  ~Process();  // kills what still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  int wait();  // the exit code, or 128 + the signal that ended it
  bool running();
  // Looks every millisecond; false when the process has ended before.
  bool wait_until(const std::function<bool()>& condition);

 private:
  pid_t pid_ = 0;
  int code_ = -1;  // once ended
};

// Runs it to its end.
int run_binary(const std::vector<std::string>& arguments, const std::string& log);

std::string fresh_test_folder(const std::string& name);

}  // namespace mneme
