#include "train/launch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/signals.h"

extern char** environ;

namespace mneme {
namespace {

constexpr const char* kLauncher = "MNEME_LAUNCHER";
constexpr auto kGrace = std::chrono::seconds(10);  // for the others to end by themselves after a failure

// A port that nobody listens on now.
int free_port() {
  const int s = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool ok = s >= 0 && ::bind(s, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                  ::getsockname(s, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  if (s >= 0) ::close(s);
  if (!ok) throw Error(Kind::resource, "no free port on 127.0.0.1", "is the loopback device up?");
  return ntohs(address.sin_port);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& w : words) out.push_back(w.data());
  out.push_back(nullptr);
  return out;
}

struct Rank {
  pid_t pid = 0;
  std::string log;  // empty: this process's own outputs
  int code = -1;    // once ended
};

Rank start(int64_t rank, int64_t count, int port, std::vector<std::string> arguments,
           const std::string& folder) {
  std::vector<std::string> environment;
  for (char** e = environ; *e; ++e) environment.emplace_back(*e);
  for (const std::string& e :
       {"RANK=" + std::to_string(rank), "LOCAL_RANK=" + std::to_string(rank),
        "WORLD_SIZE=" + std::to_string(count), std::string("MASTER_ADDR=127.0.0.1"),
        "MASTER_PORT=" + std::to_string(port), std::string(kLauncher) + "=" + std::to_string(::getpid())}) {
    environment.push_back(e);
  }
  arguments.insert(arguments.begin(), "mneme");
  Rank out;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (rank > 0) {
    out.log = join_path(folder, "rank-" + std::to_string(rank) + ".log");
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  }
  // In a process group of its own, so that Ctrl-C reaches the ranks once, through this process.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const int failed = ::posix_spawn(&out.pid, "/proc/self/exe", &actions, &attributes,
                                   pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed) throw Error(Kind::resource, "cannot start rank " + std::to_string(rank));
  return out;
}

void tell_all(const std::vector<Rank>& ranks, int number) {
  for (const Rank& r : ranks) {
    if (r.code < 0) ::kill(r.pid, number);
  }
}

// The last lines of a rank's log, its error among them.
std::string last_words(const std::string& log) {
  const std::string text = read_file(log);
  const size_t error = text.rfind("mneme: error:");
  return error != std::string::npos ? text.substr(error)
                                    : text.substr(text.size() - std::min<size_t>(text.size(), 500));
}

class Watch {
 public:
  explicit Watch(std::vector<Rank>& ranks) : ranks_(ranks) {}

  int run() {
    while (alive()) {
      forward_signals();
      for (Rank& r : ranks_) look(r);
      if (failed_ && Clock::now() > deadline_) {
        tell_all(ranks_, hard_ ? SIGKILL : SIGTERM);
        hard_ = true;
        deadline_ = Clock::now() + kGrace;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return failed_ ? failed_->code : ranks_[0].code;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool alive() const {
    for (const Rank& r : ranks_) {
      if (r.code < 0) return true;
    }
    return false;
  }

  void forward_signals() {
    if (forwarded_ || !stop_.requested()) return;
    tell_all(ranks_, stop_.signal());
    forwarded_ = true;
  }

  void look(Rank& r) {
    int status = 0;
    if (r.code >= 0 || ::waitpid(r.pid, &status, WNOHANG) != r.pid) return;
    r.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const bool stopped = stop_.requested() && r.code == stop_.exit_code();
    if (r.code == 0 || stopped || failed_) return;
    failed_ = &r;
    // The others hear of it by themselves, most often; who does not is stopped.
    deadline_ = Clock::now() + kGrace;
    const auto number = static_cast<int64_t>(&r - ranks_.data());
    log_error("train", "rank {} ended with code {}{}", number, r.code,
              r.log.empty() ? std::string() : ":\n" + last_words(r.log));
  }

  std::vector<Rank>& ranks_;
  StopSignals stop_;
  Rank* failed_ = nullptr;
  Clock::time_point deadline_;
  bool forwarded_ = false, hard_ = false;
};

}  // namespace

bool is_rank() { return std::getenv("WORLD_SIZE") != nullptr && std::getenv("RANK") != nullptr; }

void follow_launcher() {
  if (const char* launcher = std::getenv(kLauncher)) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != std::atoi(launcher)) ::raise(SIGKILL);  // it died before this was set
  }
}

int launch_ranks(int64_t count, const std::vector<std::string>& arguments, const std::string& folder) {
  make_folders(folder);
  const int port = free_port();
  std::vector<Rank> ranks;
  for (int64_t r = 0; r < count; ++r) ranks.push_back(start(r, count, port, arguments, folder));
  return Watch(ranks).run();
}

}  // namespace mneme
