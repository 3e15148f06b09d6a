// A sub-command of the `mneme` binary: one file apps/<name>.cc defines `extern const Command k<Name>Command`,
// and the table in apps/main.cc lists it once it works. run() returns the exit code; what goes wrong is
// thrown (base/error.h).
//
//   namespace {
//   int run(int argc, const char* const* argv) {
//     EchoOptions options;
//     if (!read_options(kEchoCommand, argc, argv, options)) return 0;   // --help or --dump-config was
//     answered
//     ...
//   }
//   }
//   const Command kEchoCommand = {"echo", "repeat a text", "mneme echo <text>", "mneme echo hello", run};
#pragma once

#include <string_view>

#include "base/options.h"

namespace mneme {

struct Command {
  std::string_view name, summary, usage, example;
  int (*run)(int argc, const char* const* argv);
};

// Parses the command line into the options, then sets up log and threads from `options.common`, the
// CommonOptions that every command has. False when the command has nothing more to do: help or the
// configuration was asked for and is printed.
bool read_options(const Command& command, int argc, const char* const* argv, const OptionTable& table,
                  const CommonOptions& common);
template <Visitable T>
bool read_options(const Command& command, int argc, const char* const* argv, T& options) {
  return read_options(command, argc, argv, OptionTable(options), options.common);
}

}  // namespace mneme
