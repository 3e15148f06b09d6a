#include "base/options.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/options_internal.h"

namespace mneme {
namespace {

class Collector : public OptionVisitor {
 public:
  explicit Collector(OptionTable& table) : table_(table) {}
  void field(std::string_view n, bool& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, int64_t& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, double& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::string& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::vector<int64_t>& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::vector<double>& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::vector<std::string>& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::optional<int64_t>& v, std::string_view h) override { add(n, &v, h); }
  void field(std::string_view n, std::optional<double>& v, std::string_view h) override { add(n, &v, h); }
  void choice(std::string_view n, std::string& v, std::initializer_list<std::string_view> allowed,
              std::string_view h) override {
    add(n, &v, h).allowed.assign(allowed.begin(), allowed.end());
  }
  void choice(std::string_view n, std::string& v, const std::vector<std::string>& allowed,
              std::string_view h) override {
    add(n, &v, h).allowed = allowed;
  }
  void required(std::string_view n, std::string& v, std::string_view h) override {
    add(n, &v, h).required = true;
  }
  void positional(std::string_view n, std::string& v, std::string_view h, Need need) override {
    place(add(n, &v, h), need);
  }
  void positional(std::string_view n, std::vector<std::string>& v, std::string_view h, Need need) override {
    place(add(n, &v, h), need);
  }

 protected:
  void enter(std::string_view name, std::string_view help) override {
    lengths_.push_back(prefix_.size());
    prefix_ += name;
    table_.sections.push_back({prefix_, std::string(help)});
    prefix_ += '.';
  }
  void leave() override {
    prefix_.resize(lengths_.back());
    lengths_.pop_back();
  }

 private:
  Option& add(std::string_view name, Option::Target target, std::string_view help) {
    Option option;
    option.key = prefix_ + std::string(name);
    option.help = help;
    option.target = target;
    table_.options.push_back(std::move(option));
    return table_.options.back();
  }
  static void place(Option& option, Need need) {
    option.positional = true;
    option.required = need == Need::required;
  }
  OptionTable& table_;
  std::string prefix_;
  std::vector<size_t> lengths_;
};

}  // namespace

void CommonOptions::visit(OptionVisitor& v) {
  v.field("device", device, "where to compute: auto (a CUDA device if there is one), cpu, cuda, cuda:N");
  v.choice("dtype", dtype, {"auto", "fp32", "bf16", "fp16", "fp64"},
           "type of the matrix products; auto: bf16 where the hardware has it, else fp32");
  v.field("threads", threads, "CPU threads; 0: all cores");
  v.field("seed", seed, "of all random numbers; same seed, same bits");
  v.field("quiet", quiet, "only warnings and errors on stderr");
  v.field("json", json, "results and log as JSON lines");
}

std::unique_ptr<OptionVisitor> OptionTable::make_collector(OptionTable& table) {
  return std::make_unique<Collector>(table);
}

void OptionTable::finish() const {
  std::set<std::string> seen = {"help", "config", "dump_config"};
  for (const Option& o : options) {
    MNEME_CHECK(seen.insert(o.key).second, "two options named " + o.key);
    MNEME_CHECK(o.key.find('-') == std::string::npos && o.key.rfind("no_", 0) != 0, "bad key " + o.key);
  }
}

const Option* OptionTable::find(std::string_view key) const {
  const auto it = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.key == key; });
  return it == options.end() ? nullptr : &*it;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t fewest = std::numeric_limits<size_t>::max();
  for (const std::string& c : candidates) {
    // Rows of the edit matrix: two back (for swaps), one back, this one.
    std::vector<size_t> before, last(c.size() + 1), row(c.size() + 1);
    for (size_t j = 0; j <= c.size(); ++j) last[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (size_t j = 1; j <= c.size(); ++j) {
        row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (word[i - 1] != c[j - 1])});
        if (i > 1 && j > 1 && word[i - 1] == c[j - 2] && word[i - 2] == c[j - 1]) {
          row[j] = std::min(row[j], before[j - 2] + 1);
        }
      }
      before = last;
      last = row;
    }
    if (last[c.size()] < fewest) {
      fewest = last[c.size()];
      best = c;
    }
  }
  return best;
}

}  // namespace mneme
