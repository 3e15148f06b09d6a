// The `mneme` binary: finds the sub-command, runs it, and turns what it throws into words and an exit code.
#include <c10/util/Exception.h>
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/versions.h"
#include "base/error.h"
#include "tensor/tensor.h"

namespace mneme {

extern const Command kChatCommand;
extern const Command kConvertCommand;
extern const Command kDataCommand;
extern const Command kDetokenizeCommand;
extern const Command kDoctorCommand;
extern const Command kEvalCommand;
extern const Command kGenerateCommand;
extern const Command kInspectCommand;
extern const Command kStateCommand;
extern const Command kReportCommand;
extern const Command kTemplateCommand;
extern const Command kTokenizeCommand;
extern const Command kTrainCommand;
extern const Command kVerifyCommand;

struct CommandGroup {
  const char* title;
  std::vector<const Command*> commands;
};

// In the order of --help. A command stands here when it works.
const std::vector<CommandGroup>& command_groups() {
  // clang-format off
  static const std::vector<CommandGroup> table = {
    {"run a model", {
      &kGenerateCommand,
      &kChatCommand,
      &kStateCommand,
    }},
    {"train and measure", {
      &kDataCommand,
      &kTrainCommand,
      &kEvalCommand,
      &kReportCommand,
    }},
    {"files of models", {
      &kInspectCommand,
      &kConvertCommand,
    }},
    {"texts", {
      &kTokenizeCommand,
      &kDetokenizeCommand,
      &kTemplateCommand,
    }},
    {"this program", {
      &kVerifyCommand,
      &kDoctorCommand,
    }},
  };
  // clang-format on
  return table;
}

namespace {

const Command* find_command(std::string_view name) {
  for (const CommandGroup& group : command_groups()) {
    for (const Command* c : group.commands) {
      if (c->name == name) return c;
    }
  }
  return nullptr;
}

void print_overview() {
  std::printf("mneme %s: language models with a long-term memory\n\nusage: mneme COMMAND [options]\n",
              version());
  for (const CommandGroup& group : command_groups()) {
    std::printf("\n%s:\n", group.title);
    for (const Command* c : group.commands) {
      std::printf("  %-12s%s\n", std::string(c->name).c_str(), std::string(c->summary).c_str());
    }
  }
  std::printf(
      "\nmneme COMMAND --help explains one and shows an example; mneme --version prints the version.\n"
      "Results go to stdout, all else to stderr. Exit codes: 0 done, 1 failure, 2 usage, 3 bad input,\n"
      "4 resources, 5 numeric, 130 and 143 interrupted after saving.\n");
}

// The text of docs/cli.md.
int print_manual() {
  std::printf(
      "# Commands\n\nWritten by `mneme help --markdown`. A flag's key names it in the TOML file of "
      "`--config`, where a\n"
      "dot is a section; flags override the file, and `--dump-config` prints all as TOML.\n\n");
  for (const CommandGroup& group : command_groups()) {
    for (const Command* c : group.commands) {
      const std::string name(c->name);
      const char* argv[] = {name.c_str(), "--help=markdown"};
      if (const int code = c->run(2, argv); code != 0) return code;
    }
  }
  return 0;
}

const Command& command_named(const std::string& name) {
  if (const Command* c = find_command(name)) return *c;
  std::vector<std::string> names = {"help"};
  for (const CommandGroup& group : command_groups()) {
    for (const Command* c : group.commands) names.emplace_back(c->name);
  }
  throw Error(Kind::usage, "unknown command '" + name + "'",
              "the nearest is " + nearest(name, names) + "; 'mneme --help' lists all");
}

int dispatch(int argc, const char* const* argv) {
  const std::string first = argc > 1 ? argv[1] : "--help";
  if (first == "--version") {
    std::printf("mneme %s\n", version());
    return 0;
  }
  if (first == "help" && argc > 2 && std::strcmp(argv[2], "--markdown") == 0) return print_manual();
  if (first == "help" && argc > 2) {
    const char* help[] = {argv[2], "--help"};
    return command_named(argv[2]).run(2, help);
  }
  if (first == "--help" || first == "-h" || first == "help") {
    print_overview();
    return argc > 1 ? 0 : static_cast<int>(Kind::usage);
  }
  return command_named(first).run(argc - 1, argv + 1);
}

int report(int code, const char* kind, const std::string& message, const std::string& hint, bool json) {
  std::fflush(stdout);
  if (json) {
    const nlohmann::json line = {
        {"error", {{"kind", kind}, {"code", code}, {"message", message}, {"hint", hint}}}};
    std::fprintf(stderr, "%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "mneme: error: %s\n", message.c_str());
    if (!hint.empty()) std::fprintf(stderr, "  %s\n", hint.c_str());
  }
  return code;
}

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::failure:
      return "failure";
    case Kind::usage:
      return "usage";
    case Kind::input:
      return "input";
    case Kind::resource:
      return "resource";
    case Kind::numeric:
      return "numeric";
  }
  return "failure";
}

int guarded(int argc, const char* const* argv) {
  // Known before the options are, for errors in the options themselves.
  const bool json =
      std::any_of(argv, argv + argc, [](const char* a) { return std::strcmp(a, "--json") == 0; });
  try {
    return dispatch(argc, argv);
  } catch (const Error& e) {
    return report(static_cast<int>(e.kind()), name_of(e.kind()), e.message(), e.hint(), json);
  } catch (const std::bad_alloc&) {
    return report(4, "resource", "the memory of this machine is not enough",
                  "use a smaller batch, model or window", json);
  } catch (const c10::Error& e) {
    const std::string what = e.what_without_backtrace();
    const bool memory = what.find("out of memory") != std::string::npos ||
                        what.find("can't allocate memory") != std::string::npos;
    if (memory) return report(4, "resource", what, "use a smaller batch, model or window", json);
    return report(1, "failure", "libtorch: " + what,
                  "this is a bug in mneme; please report it with the command that led here", json);
  } catch (const std::exception& e) {
    return report(1, "failure", e.what(), "", json);
  }
}

}  // namespace
}  // namespace mneme

int main(int argc, char** argv) {
  // A file of ours must not get the number of a stream that the caller closed, and with it what is printed.
  for (int stream = 0; stream < 3; ++stream) {
    if (::fcntl(stream, F_GETFD) == -1 && ::open("/dev/null", O_RDONLY) == -1) return 1;
  }
  const int code = mneme::guarded(argc, argv);
  // Results that could not be written must not look like success.
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && code == 0) {
    std::fprintf(stderr, "mneme: error: cannot write to stdout\n");
    return static_cast<int>(mneme::Kind::resource);
  }
  return code;
}
