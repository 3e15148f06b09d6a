#include "apps/read_document.h"

#include <algorithm>

#include "base/format.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signals.h"

namespace mneme {
namespace {

constexpr int64_t kPiece = 1024;  // tokens of a read: often enough for the eye, seldom enough for the machine
constexpr size_t kPoints = 48;    // of the curve

// What a state weighed, thinned out as the document grows: always between half of kPoints and kPoints points.
class Curve {
 public:
  void add(uint64_t bytes) {
    if (seen_++ % every_ != 0) return;
    points_.push_back(bytes);
    if (points_.size() < kPoints) return;
    for (size_t i = 0; i < kPoints / 2; ++i) points_[i] = points_[2 * i];
    points_.resize(kPoints / 2);
    every_ *= 2;
  }
  const std::vector<uint64_t>& points() const { return points_; }

 private:
  std::vector<uint64_t> points_;
  size_t seen_ = 0, every_ = 1;
};

}  // namespace

std::string bars(const std::vector<uint64_t>& values) {
  static const char* const kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty()) return "";
  const uint64_t top = std::max<uint64_t>(1, *std::max_element(values.begin(), values.end()));
  std::string out;
  for (const uint64_t v : values) out += kBars[std::min<uint64_t>(7, v * 8 / (top + 1))];
  return out;
}

int read_document(Session& session, const std::vector<int64_t>& ids, const std::string& file,
                  int64_t save_every) {
  const int64_t from = session.row().position;
  if (from > 0 && from < static_cast<int64_t>(ids.size()))
    log_info("session", "going on behind {} of {} tokens", from, ids.size());
  Progress progress("session", "reading", "tokens", ids.size());
  progress.start_from(static_cast<uint64_t>(from));
  const StopSignals stop;
  Curve state, process;
  int64_t saved = from;
  session.read(ids, kPiece, [&](const Row& row) {
    state.add(static_cast<uint64_t>(row.bytes()));
    process.add(resident_bytes());
    progress.note("state " + format_bytes(static_cast<double>(row.bytes())));
    progress.set(static_cast<uint64_t>(row.position));
    const bool due = save_every > 0 && row.position - saved >= save_every;
    if (!file.empty() && (due || stop.requested())) {
      session.save(file);
      saved = row.position;
    }
    return !stop.requested();
  });
  if (stop.requested()) return stop.exit_code();
  if (state.points().size() < 2) return 0;
  progress.finish();
  const auto line = [](const char* what, const std::vector<uint64_t>& points) {
    const auto [least, most] = std::minmax_element(points.begin(), points.end());
    log_info("session", "{:<14} {}  {} to {}", what, bars(points), format_bytes(static_cast<double>(*least)),
             format_bytes(static_cast<double>(*most)));
  };
  line("state", state.points());
  line("whole process", process.points());
  return 0;
}

}  // namespace mneme
