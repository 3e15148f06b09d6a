// Starts the ranks of a data parallel training on this machine: this program once more for each, with
// torchrun's environment. They end together: when one fails, the others are stopped and its reason is told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mneme {

// Whether this process was started as a rank, by launch_ranks or torchrun.
bool is_rank();

// `arguments`: of the ranks, after the program's name. Outputs of rank 0 are this process's; the others' go
// to FOLDER/rank-N.log. SIGINT and SIGTERM go on to the ranks. Returns the exit code: 0, or that of the rank
// that failed first.
int launch_ranks(int64_t count, const std::vector<std::string>& arguments, const std::string& folder);

// In a rank: ends with its launcher, whatever happens to that.
void follow_launcher();

}  // namespace mneme
