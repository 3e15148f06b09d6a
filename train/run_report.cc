#include "train/run_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr size_t kMostPoints = 400;  // of a curve; more are averaged, a screen shows no more
constexpr double kWidth = 560, kHeight = 260, kLeft = 64, kRight = 22, kTop = 12, kBottom = 30;
constexpr const char* kColours[] = {"#3b6fd4", "#d1583a", "#3a9a5b", "#9457c2",
                                    "#c08a1e", "#1f9aa5", "#c2487f", "#6b7280"};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Points thinned(const Points& points) {
  if (points.size() <= kMostPoints) return points;
  Points out;
  for (size_t i = 0; i < kMostPoints; ++i) {
    const size_t first = i * points.size() / kMostPoints, last = (i + 1) * points.size() / kMostPoints;
    double sum = 0;
    for (size_t p = first; p < last; ++p) sum += points[p].second;
    out.emplace_back(points[last - 1].first, sum / static_cast<double>(last - first));
  }
  return out;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void take(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  bool empty() const { return low > high; }
};

// Round numbers, four to eight of them, within the range widened to such.
std::vector<double> ticks(Range& r) {
  if (r.high == r.low) {
    const double pad = r.low == 0 ? 1 : std::abs(r.low) * 0.1;
    r = {r.low - pad, r.high + pad};
  }
  const double rough = (r.high - r.low) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (const double m : {1.0, 2.0, 5.0, 10.0}) {
    if (m * power >= rough) {
      step = m * power;
      break;
    }
  }
  r.low = std::floor(r.low / step) * step;
  r.high = std::ceil(r.high / step) * step;
  std::vector<double> out;
  const auto count = static_cast<int>(std::lround((r.high - r.low) / step));
  for (int i = 0; i <= count; ++i) out.push_back(r.low + i * step);
  return out;
}

std::string number(double x) { return fmt::format("{:.4g}", std::abs(x) < 1e-12 ? 0 : x); }

std::string chart(const std::string& metric, const std::vector<RunMetrics>& runs) {
  Range x, y;
  for (const RunMetrics& run : runs) {
    const auto found = run.curves.find(metric);
    if (found == run.curves.end()) continue;
    for (const auto& [step, value] : found->second) {
      x.take(step);
      y.take(value);
    }
  }
  if (y.empty()) return {};
  const std::vector<double> across = ticks(x), up = ticks(y);
  const auto place_x = [&](double v) {
    return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  };
  const auto place_y = [&](double v) {
    return kHeight - kBottom - (v - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  };
  std::string out = fmt::format(
      "<figure><figcaption>{} <span>by step</span></figcaption><svg viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">\n",
      escaped(metric), kWidth, kHeight, escaped(metric));
  for (const double v : up) {
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text x=\"{3}\" "
        "y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5}</text>\n",
        kLeft, kWidth - kRight, place_y(v), kLeft - 6, place_y(v) + 4, number(v));
  }
  for (const double v : across) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", place_x(v),
                       kHeight - 10, number(v));
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto found = runs[i].curves.find(metric);
    if (found == runs[i].curves.end()) continue;
    const std::string colour = kColours[i % std::size(kColours)];
    const Points points = thinned(found->second);
    std::string path;
    for (const auto& [step, value] : points)
      path += fmt::format("{:.1f},{:.1f} ", place_x(step), place_y(value));
    const std::string title =
        fmt::format("<title>{}: {} at step {}</title>", escaped(runs[i].name),
                    number(found->second.back().second), number(found->second.back().first));
    out += points.size() > 1
               ? fmt::format("<polyline points=\"{}\" stroke=\"{}\">{}</polyline>\n", path, colour, title)
               : fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\">{}</circle>\n",
                             place_x(points[0].first), place_y(points[0].second), colour, title);
  }
  return out + "</svg></figure>\n";
}

// What most readers look for first; the rest follows in the order of names.
std::vector<std::string> metrics_in_order(const std::vector<RunMetrics>& runs) {
  std::vector<std::string> out = {
      "loss",          "held_out_loss", "held_out_accuracy", "tokens_per_second", "share_of_gemm",
      "gradient_norm", "rate"};
  std::map<std::string, bool> there;
  for (const RunMetrics& run : runs) {
    for (const auto& [metric, unused] : run.curves) there[metric] = true;
  }
  for (const auto& [metric, unused] : there) {
    if (std::find(out.begin(), out.end(), metric) == out.end()) out.push_back(metric);
  }
  out.erase(std::remove_if(out.begin(), out.end(), [&](const std::string& m) { return there.count(m) == 0; }),
            out.end());
  return out;
}

std::string last_of(const RunMetrics& run, const std::string& metric) {
  const auto found = run.curves.find(metric);
  return found == run.curves.end() ? "–" : number(found->second.back().second);
}

std::string lowest_of(const RunMetrics& run, const std::string& metric) {
  const auto found = run.curves.find(metric);
  if (found == run.curves.end()) return "–";
  const auto best = std::min_element(found->second.begin(), found->second.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return number(best->second) + " (step " + number(best->first) + ")";
}

std::string table(const std::vector<RunMetrics>& runs) {
  std::string out =
      "<div class=\"wide\"><table><tr><th>run</th><th>steps</th><th>loss</th><th>lowest held-out "
      "loss</th><th>held-out "
      "accuracy</th>"
      "<th>tokens/s</th></tr>\n";
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunMetrics& run = runs[i];
    const auto loss = run.curves.find("loss");
    out += fmt::format(
        "<tr><td><span class=\"key\" style=\"background:{}\"></span>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td>{}</td></tr>\n",
        kColours[i % std::size(kColours)], escaped(run.name),
        loss == run.curves.end() ? "–" : number(loss->second.back().first), last_of(run, "loss"),
        lowest_of(run, "held_out_loss"), last_of(run, "held_out_accuracy"),
        last_of(run, "tokens_per_second"));
  }
  return out + "</table></div>\n";
}

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>mneme: runs</title>
<style>
:root { color-scheme: light dark; --ink: #1d2330; --soft: #667085; --line: #e3e6ec; --paper: #ffffff; --card: #f7f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ee; --soft: #98a1b3; --line: #2c3340; --paper: #12151b; --card: #191e27; }
}
body { margin: 0 auto; max-width: 1240px; padding: 24px; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 20px; font-weight: 600; margin: 0 0 16px; }
table { border-collapse: collapse; margin-bottom: 24px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { white-space: nowrap; text-align: left; padding: 6px 18px 6px 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; vertical-align: -1px; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px; background: var(--card); border-radius: 8px; }
figcaption { font-weight: 500; margin-bottom: 4px; }
figcaption span { color: var(--soft); font-weight: 400; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); }
svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
</style></head><body>
<h1>Training runs</h1>
)";

}  // namespace

RunMetrics read_run(const std::string& folder) {
  const std::string path = join_path(folder, "metrics.jsonl");
  if (!file_exists(path))
    throw Error(Kind::input, "no metrics.jsonl in '" + folder + "'",
                "name the --out folder of a mneme train");
  RunMetrics run;
  run.name = folder;
  std::istringstream lines(read_file(path));
  int64_t at = 0;
  for (std::string line; std::getline(lines, line);) {
    ++at;
    const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
    // A run that was killed, or is being written, may end in half a line.
    if (j.is_discarded() && lines.peek() == std::char_traits<char>::eof()) break;
    if (!j.is_object() || !j.contains("step") || !j["step"].is_number())
      throw Error(Kind::input, path + ": line " + std::to_string(at) + " is no object with a step");
    for (const auto& [key, value] : j.items()) {
      if (key == "step" || !value.is_number() || !std::isfinite(value.get<double>())) continue;
      run.curves[key].emplace_back(j["step"].get<double>(), value.get<double>());
    }
  }
  if (run.curves.empty())
    throw Error(Kind::input, path + " holds no metrics yet", "wait for train.log_every steps");
  return run;
}

std::string run_report(const std::vector<RunMetrics>& runs) {
  std::string out = kHead + table(runs) + "<main>\n";
  for (const std::string& metric : metrics_in_order(runs)) out += chart(metric, runs);
  return out + "</main></body></html>\n";
}

}  // namespace mneme
