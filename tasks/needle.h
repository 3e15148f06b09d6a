// Needles in a haystack: facts of the form "One of the special magic numbers for KEY is: VALUE." hidden
// between sentences that say nothing, and asked for at the end. More keys than are asked for are distractors,
// more values a key must all be named; `updates` state a key's value anew later, and the last one counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"

namespace mneme {

struct NeedleTask {
  int64_t characters = 4000;  // of the haystack, about
  int64_t keys = 1, values = 1, asked = 1, updates = 0;
  double depth = -1;  // of the first asked needle: 0 the begin, 1 the end; below 0: drawn
  void visit(OptionVisitor& v) {
    v.field("characters", characters, "length of the text around the needles");
    v.field("keys", keys, "keys that are given values");
    v.field("values", values, "values of a key; all must be named");
    v.field("asked", asked, "keys that are asked for");
    v.field("updates", updates, "times that a value is stated anew; the last statement counts");
    v.field("depth", depth, "place of the first asked needle, 0 to 1; negative: random");
  }
};

struct NeedleExample {
  std::string prompt, completion;
  std::vector<std::string> answers;  // all of them must occur
};

NeedleExample needle_example(const NeedleTask& task, uint64_t seed, uint64_t index);

// The share of the answers that occur in a text, upper and lower case alike.
double answers_found(const std::vector<std::string>& answers, std::string_view text);

}  // namespace mneme
