// The libtorch that mneme is compiled with, for people: `mneme doctor`, bug reports.
#pragma once

#include <string>

namespace mneme {

std::string torch_version();   // "1.13.0"
std::string onednn_version();  // of the oneDNN inside libtorch; "none" without it

}  // namespace mneme
