#include "verify/run.h"

#include "base/error.h"

namespace mneme {
namespace {

struct Part {
  const char* method;
  Results (*run)(const GoldenCase&);
};
constexpr Part kParts[] = {{"rmt", run_rmt}, {"hmt", run_hmt}, {"landmark", run_landmark}};

}  // namespace

Results run_case(const GoldenCase& golden) try {
  if (golden.kind() == "data") return run_data(golden);
  std::string known;
  for (const Part& p : kParts) {
    if (golden.method() == p.method) return p.run(golden);
    known += (known.empty() ? "" : ", ") + std::string(p.method);
  }
  throw Error(Kind::input, golden.folder() + ": no cases of the method '" + golden.method() + "' can be run",
              "known methods are " + known);
} catch (const nlohmann::json::exception& e) {
  throw Error(Kind::input, golden.folder() + ": " + e.what());
}

}  // namespace mneme
