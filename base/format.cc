#include "base/format.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace mneme {
namespace {

std::string scaled(double value, const std::array<const char*, 5>& units) {
  size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  const double size = std::abs(value);
  const bool whole = value == std::floor(value) && unit == 0;
  char text[48];
  std::snprintf(text, sizeof text, "%.*f%s",
                whole || size >= 99.95 ? 0
                : size >= 9.995        ? 1
                                       : 2,
                value, units[unit]);
  return text;
}

}  // namespace

std::string format_count(double count) { return scaled(count, {"", "k", "M", "G", "T"}); }

std::string format_bytes(double bytes) { return scaled(bytes, {" B", " kB", " MB", " GB", " TB"}); }

std::string format_duration(double seconds) {
  char text[48];
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  if (seconds < 9.95) {
    std::snprintf(text, sizeof text, "%.1f s", seconds);
    return text;
  }
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  const int64_t h = whole / 3600, m = whole / 60 % 60, s = whole % 60;
  if (h > 0) {
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", static_cast<long long>(h),
                  static_cast<long long>(m), static_cast<long long>(s));
  } else if (m > 0) {
    std::snprintf(text, sizeof text, "%lld:%02lld", static_cast<long long>(m), static_cast<long long>(s));
  } else {
    std::snprintf(text, sizeof text, "%lld s", static_cast<long long>(s));
  }
  return text;
}

std::string format_grouped(uint64_t count) {
  std::string out = std::to_string(count);
  for (size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, ",");
  return out;
}

}  // namespace mneme
