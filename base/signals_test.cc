#include "base/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mneme {
namespace {

TEST(Signals, TheFirstIsAWish) {
  for (const int number : {SIGINT, SIGTERM}) {
    const StopSignals stop;
    EXPECT_FALSE(stop.requested());
    EXPECT_EQ(stop.exit_code(), 0);
    ::raise(number);
    EXPECT_TRUE(stop.requested());
    EXPECT_EQ(stop.exit_code(), 128 + number);
    const StopSignals inner;
    EXPECT_TRUE(inner.requested()) << "a loop inside a loop sees the same wish";
  }
}

// What a child does with signals sent by itself, as the status that waitpid gives.
template <class F>
int status_of(F&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(Signals, TheSecondEndsTheProcess) {
  const int status = status_of([] {
    const StopSignals stop;
    ::raise(SIGTERM);
    ::raise(SIGTERM);
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

TEST(Signals, AfterwardsTheyDoWhatTheyDidBefore) {
  const int status = status_of([] {
    ::signal(SIGINT, SIG_DFL);  // whoever started the tests in the background had it ignored
    { const StopSignals stop; }
    ::raise(SIGINT);
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

}  // namespace
}  // namespace mneme
