// mneme report: pages for people out of what other commands wrote.
#include <cstdio>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "train/run_report.h"

namespace mneme {
extern const Command kReportCommand;

namespace {

struct ReportOptions {
  CommonOptions common;
  std::string kind, out;
  std::vector<std::string> folders;
  void visit(OptionVisitor& v) {
    v.positional("kind", kind, "what to report on: run", Need::required);
    v.positional("folders", folders, "folders of runs, laid over each other", Need::required);
    v.field("out", out, "the page; default: report.html in the first folder");
    common.visit(v);
  }
};

int run_report(int argc, const char* const* argv) {
  ReportOptions o;
  if (!read_options(kReportCommand, argc, argv, o)) return 0;
  if (o.kind != "run")
    throw Error(Kind::usage, "unknown report '" + o.kind + "'", "known is: mneme report run DIR");
  std::vector<RunMetrics> runs;
  for (const std::string& folder : o.folders) runs.push_back(read_run(folder));
  const std::string path = o.out.empty() ? join_path(o.folders.at(0), "report.html") : o.out;
  write_file(path, run_report(runs));
  std::printf("%s\n", path.c_str());
  return 0;
}

}  // namespace

const Command kReportCommand = {
    "report", "a page with the curves of training runs", "mneme report run DIR...",
    "mneme report run runs/recall-rmt runs/recall-hmt --out report.html", run_report};

}  // namespace mneme
