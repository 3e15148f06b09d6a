// Numbers as people read them: "1.23M", "4.5 GB", "1:02:03".
#pragma once

#include <cstdint>
#include <string>

namespace mneme {

std::string format_count(double count);       // three digits and k, M, G, T
std::string format_bytes(double bytes);       // three digits and B, kB, MB, GB, TB (powers of 1000)
std::string format_duration(double seconds);  // "0.4 s", "12 s", "3:05", "1:02:03"
std::string format_grouped(uint64_t count);   // "1,234,567"

}  // namespace mneme
