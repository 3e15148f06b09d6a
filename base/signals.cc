#include "base/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

namespace mneme {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free);  // touched by the handler

std::atomic<int> guards{0};
struct sigaction old_interrupt, old_terminate;

extern "C" void on_signal(int number) {
  int none = 0;
  if (received.compare_exchange_strong(none, number)) {
    // The handler may only use what is safe in handlers: no log here.
    constexpr char kText[] = "\nmneme: stopping after this step; once more to stop at once\n";
    const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    static_cast<void>(written);
    return;
  }
  ::signal(number, SIG_DFL);
  ::raise(number);  // delivered when the handler returns: the process ends as if it had none
}

}  // namespace

StopSignals::StopSignals() : outermost_(guards.fetch_add(1) == 0) {
  if (!outermost_) return;
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &old_interrupt);
  ::sigaction(SIGTERM, &action, &old_terminate);
}

StopSignals::~StopSignals() {
  guards.fetch_sub(1);
  if (!outermost_) return;
  ::sigaction(SIGINT, &old_interrupt, nullptr);
  ::sigaction(SIGTERM, &old_terminate, nullptr);
}

int StopSignals::signal() const { return received.load(); }

}  // namespace mneme
