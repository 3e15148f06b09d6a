// mneme state: looks at sessions, copies them, cuts them, compares them. No model is needed.
#include <cstdio>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "convert/describe.h"
#include "infer/session.h"

namespace mneme {
extern const Command kStateCommand;

namespace {

struct StateOptions {
  CommonOptions common;
  std::string action;
  std::vector<std::string> files;
  int64_t back = 0, keep = 0;
  bool replace = false;
  void visit(OptionVisitor& v) {
    v.positional("action", action, "inspect, fork, trim or diff", Need::required);
    v.positional("files", files, "inspect FILE; fork FILE COPY; trim FILE; diff FILE FILE", Need::required);
    v.field("back", back, "fork: so many segment ends back");
    v.field("keep", keep, "trim: segment ends that stay");
    v.field("replace", replace, "fork: over a copy that is there");
    common.visit(v);
  }
};

int inspect(const StateOptions& o) {
  const nlohmann::ordered_json d = describe_path(o.files[0]);
  if (d.at("kind") != "state")
    throw Error(Kind::input, "'" + o.files[0] + "' is no state but " + d.at("kind").get<std::string>());
  const std::string text = o.common.json
                               ? d.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                               : description_text(d, false);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

int fork(const StateOptions& o) {
  if (file_exists(o.files[1]) && !o.replace)
    throw Error(Kind::input, "'" + o.files[1] + "' is there already",
                "choose another name, or add --replace");
  SessionFile session = SessionFile::read(o.files[0]);
  session.go_back(o.back);
  session.write(o.files[1]);
  return 0;
}

int trim(const StateOptions& o) {
  SessionFile session = SessionFile::read(o.files[0]);
  session.trim(o.keep);
  session.write(o.files[0]);
  return 0;
}

// 0: the same, 1: not, as diff(1).
int diff(const StateOptions& o) {
  const std::vector<std::string> all =
      session_differences(SessionFile::read(o.files[0]), SessionFile::read(o.files[1]));
  if (o.common.json) {
    const nlohmann::json out = {{"same", all.empty()}, {"differences", all}};
    std::printf("%s\n", out.dump().c_str());
  } else {
    for (const std::string& line : all) std::printf("%s\n", line.c_str());
  }
  return all.empty() ? 0 : 1;
}

int run_state(int argc, const char* const* argv) {
  StateOptions o;
  if (!read_options(kStateCommand, argc, argv, o)) return 0;
  const struct {
    const char* name;
    size_t files;
    int (*run)(const StateOptions&);
  } actions[] = {{"inspect", 1, inspect}, {"fork", 2, fork}, {"trim", 1, trim}, {"diff", 2, diff}};
  for (const auto& a : actions) {
    if (o.action != a.name) continue;
    if (o.files.size() != a.files)
      throw Error(Kind::usage, std::string("state ") + a.name + ": expected " + std::to_string(a.files) +
                                   " files, found " + std::to_string(o.files.size()));
    return a.run(o);
  }
  throw Error(Kind::usage, "no action '" + o.action + "'",
              "the nearest is " + nearest(o.action, {"inspect", "fork", "trim", "diff"}));
}

}  // namespace

const Command kStateCommand = {"state", "look at sessions, fork them, trim them, compare them",
                               "mneme state inspect|fork|trim|diff FILE [FILE] [--back N] [--keep N]",
                               "mneme state fork story.state other.state --back 1", run_state};

}  // namespace mneme
