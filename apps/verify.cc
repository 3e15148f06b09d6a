// mneme verify: reference cases of the original programs, compared tensor by tensor.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "verify/run.h"

namespace mneme {
extern const Command kVerifyCommand;

namespace {

struct VerifyOptions {
  CommonOptions common;
  std::vector<std::string> cases;
  void visit(OptionVisitor& v) {
    v.positional("cases", cases, "folders of cases, or folders of such folders", Need::required);
    common.visit(v);
  }
};

// Folders with a case.json at or below `path`.
void find_cases(const std::string& path, std::vector<std::string>& out) {
  if (file_exists(join_path(path, "case.json"))) {
    out.push_back(path);
    return;
  }
  if (!is_folder(path)) throw Error(Kind::input, path + ": no such folder", "give a folder with a case.json");
  const size_t before = out.size();
  std::vector<std::string> names = list_folder(path);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (is_folder(join_path(path, name))) {
      try {
        find_cases(join_path(path, name), out);
      } catch (const Error& e) {
        if (e.kind() != Kind::input) throw;
      }
    }
  }
  if (out.size() == before) throw Error(Kind::input, path + ": no case.json here or below");
}

void print(const Comparison& c, const OutputRule& rule, const VerifyOptions& options) {
  if (options.common.json) {
    const nlohmann::json line = {
        {"name", c.name}, {"ok", c.ok}, {"error", c.error}, {"share", c.share}, {"note", c.note}};
    std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else if (!c.ok || !options.common.quiet) {
    const std::string tolerance =
        rule.exact ? "exact"
                   : "atol " + nlohmann::json(rule.atol).dump() + " rtol " + nlohmann::json(rule.rtol).dump();
    std::printf("  %s %-60s max error %-12.4g %s%s%s\n", c.ok ? "ok  " : "MISS", c.name.c_str(), c.error,
                tolerance.c_str(), c.note.empty() ? "" : "  ", c.note.c_str());
  }
}

// Number of tensors that miss.
int64_t verify_case(const std::string& folder, const VerifyOptions& options) {
  const GoldenCase golden = GoldenCase::open(folder);
  const Results results = run_case(golden);
  int64_t missed = 0;
  double worst = 0;
  for (const auto& [name, rule] : golden.expected()) {
    const Comparison c = compare(golden, name, *rule, results);
    print(c, *rule, options);
    missed += c.ok ? 0 : 1;
    if (c.ok) worst = std::max(worst, c.share);
  }
  if (!options.common.json) {
    std::printf("%s %s: %zu tensors, %lld missed, at most %.2g of a tolerance\n", missed ? "FAIL" : "pass",
                folder.c_str(), golden.expected().size(), static_cast<long long>(missed), worst);
  }
  std::fflush(stdout);
  return missed;
}

int run_verify(int argc, const char* const* argv) {
  VerifyOptions options;
  if (!read_options(kVerifyCommand, argc, argv, options)) return 0;
  std::vector<std::string> cases;
  for (const std::string& path : options.cases) find_cases(path, cases);
  int64_t failed = 0;
  for (const std::string& folder : cases) {
    try {
      failed += verify_case(folder, options) > 0 ? 1 : 0;
    } catch (const Error& e) {
      if (cases.size() == 1) throw;
      ++failed;
      std::printf("FAIL %s: %s\n", folder.c_str(), e.what());
    }
  }
  if (cases.size() > 1 && !options.common.json) {
    std::printf("%zu cases, %lld failed\n", cases.size(), static_cast<long long>(failed));
  }
  return failed ? 1 : 0;
}

}  // namespace

const Command kVerifyCommand = {"verify", "compare with the outputs of the original programs",
                                "mneme verify <case>...", "mneme verify tests/goldens/rmt/gpt2_train",
                                run_verify};

}  // namespace mneme
