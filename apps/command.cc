#include "apps/command.h"

#include <cstdio>
#include <string>

#include "base/log.h"
#include "tensor/threads.h"

namespace mneme {
namespace {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string help(const Command& c, const OptionTable& table) {
  return "mneme " + std::string(c.name) + ": " + std::string(c.summary) +
         "\n\nusage: " + std::string(c.usage) + "\n\nexample:\n  " + std::string(c.example) +
         "\n\noptions:\n" + options_help(table);
}

std::string markdown(const Command& c, const OptionTable& table) {
  return "## mneme " + std::string(c.name) + "\n\n" + std::string(c.summary) + "\n\n```\n" +
         std::string(c.usage) + "\n```\n\nExample:\n\n```\n" + std::string(c.example) + "\n```\n\n" +
         options_markdown(table) + "\n";
}

}  // namespace

bool read_options(const Command& command, int argc, const char* const* argv, const OptionTable& table,
                  const CommonOptions& common) {
  const Parsed parsed = parse_command_line(argc, argv, table);
  if (parsed.help) {
    print(parsed.markdown ? markdown(command, table) : help(command, table));
    return false;
  }
  if (parsed.dump_config) {
    print(options_to_toml(table));
    return false;
  }
  configure_log({.quiet = common.quiet, .json = common.json});
  set_threads(common.threads);
  return true;
}

}  // namespace mneme
