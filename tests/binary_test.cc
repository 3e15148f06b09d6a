#include "tests/binary.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/files.h"

extern char** environ;

namespace mneme {
namespace {

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

TEST(Binary, SaysItsVersion) {
  const std::string log = join_path(fresh_test_folder("version"), "log");
  EXPECT_EQ(run_binary({"--version"}, log), 0);
  EXPECT_EQ(read_file(log).rfind("mneme ", 0), 0U);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<std::string> words = {MNEME_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int failed = ::posix_spawn(&pid_, MNEME_BINARY, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) throw Error(Kind::resource, std::string("cannot start ") + MNEME_BINARY);
}

Process::~Process() {
  if (code_ >= 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

void Process::signal(int number) const { ::kill(pid_, number); }

int Process::wait() {
  int status = 0;
  if (code_ < 0 && ::waitpid(pid_, &status, 0) == pid_) code_ = code_of(status);
  return code_;
}

bool Process::running() {
  int status = 0;
  if (code_ < 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) code_ = code_of(status);
  return code_ < 0;
}

bool Process::wait_until(const std::function<bool()>& condition) {
  while (!condition()) {
    if (!running()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

int run_binary(const std::vector<std::string>& arguments, const std::string& log) {
  return Process(arguments, log).wait();
}

std::string fresh_test_folder(const std::string& name) {
  const std::string path = (std::filesystem::temp_directory_path() / ("mneme-e2e-" + name)).string();
  std::filesystem::remove_all(path);
  make_folders(path);
  return path;
}

}  // namespace mneme
