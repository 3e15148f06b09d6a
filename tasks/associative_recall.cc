#include "tasks/associative_recall.h"

#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace mneme {
namespace {

constexpr int64_t kQuestion = 1, kFirstKey = 2, kAsked = 3;  // a question takes three tokens

}  // namespace

void check_task(const RecallTask& t) {
  const auto wrong = [](const std::string& what) { throw Error(Kind::usage, "associative recall: " + what); };
  if (t.segment < 4 || t.segments < 2)
    wrong("expected segments of at least 4 tokens, and at least 2 of them");
  if (t.pairs < 1 || t.pairs > t.keys) wrong("pairs must be between 1 and the number of keys");
  if (t.values < 2) wrong("expected at least 2 values");
  if (2 * t.pairs > t.segment) wrong("the pairs do not fit the first segment");
  if (t.queries < 1 || kAsked * t.queries > t.segment) wrong("the questions do not fit a segment");
}

RecallDocument recall_document(const RecallTask& t, uint64_t seed, uint64_t index) {
  Random random({.seed = seed, .row = index, .draw = Draw::task});
  std::vector<int64_t> keys(static_cast<size_t>(t.keys));
  std::iota(keys.begin(), keys.end(), kFirstKey);
  random.shuffle(keys);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < t.pairs; ++i) {
    values.push_back(kFirstKey + t.keys +
                     static_cast<int64_t>(random.below(static_cast<uint64_t>(t.values))));
  }
  const auto filler = [&] {
    const auto pick = static_cast<int64_t>(random.below(static_cast<uint64_t>(RecallTask::kFillers) + 1));
    return pick == 0 ? int64_t{0} : kFirstKey + t.keys + t.values + pick - 1;
  };
  RecallDocument d;
  const int64_t total = t.segment * t.segments;
  for (int64_t i = 0; i < total; ++i) d.ids.push_back(filler());
  d.labels.assign(static_cast<size_t>(total), -100);
  for (int64_t i = 0; i < t.pairs; ++i) {
    d.ids[static_cast<size_t>(2 * i)] = keys[static_cast<size_t>(i)];
    d.ids[static_cast<size_t>(2 * i + 1)] = values[static_cast<size_t>(i)];
  }
  for (int64_t s = 1; s < t.segments; ++s) {
    // Questions lie in cells of equal width, each somewhere in its cell.
    const int64_t cell = t.segment / t.queries;
    for (int64_t q = 0; q < t.queries; ++q) {
      const int64_t at = s * t.segment + q * cell + random.between(0, cell - kAsked);
      const size_t which = random.below(static_cast<uint64_t>(t.pairs));
      d.ids[static_cast<size_t>(at)] = kQuestion;
      d.ids[static_cast<size_t>(at + 1)] = keys[which];
      d.ids[static_cast<size_t>(at + 2)] = values[which];
      d.labels[static_cast<size_t>(at + 1)] = values[which];
    }
  }
  return d;
}

}  // namespace mneme
