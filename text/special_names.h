// Which tokens are beginning, end, padding and unknown, where no file says so: by the names that models use.
#pragma once

namespace mneme {

struct TokenizerParts;

// Fills the ids that are still -1.
void guess_special_ids(TokenizerParts& parts);

}  // namespace mneme
