// Reading a long document into a session at the terminal: progress, saving on the way, and what the memory
// weighed meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "infer/session.h"

namespace mneme {

// Goes on where the session stands in this document. `file` empty: nothing is saved. `save_every`: tokens
// between two saves; 0: only the caller saves. Returns 0, or the exit code of a signal, after saving.
int read_document(Session& session, const std::vector<int64_t>& ids, const std::string& file,
                  int64_t save_every);

// Values as a line of bars, the greatest the highest; all of them equal: a flat line.
std::string bars(const std::vector<uint64_t>& values);

}  // namespace mneme
