// Multi-query associative recall across segments, over a small vocabulary of its own: pairs of a key and a
// value stand in a document, filler between them, and questions ask for the values of some keys.
//
//   k1 v1 k2 v2 ...  filler  Q ki vi  filler ...          only vi is scored, at the place of ki
//
// Keys and values are drawn anew for each document, so that nothing but the memory of the text can answer.
// Where pairs and questions stand:
//
//   first    all pairs in the first segment, questions in every later one
//   spread   pairs anywhere, each asked for once, a drawn number of segments later: how far a memory reaches
//   gaps     all pairs first, then each asked for once, after a gap that follows a power law (the benchmark
//            of zoology, Arora and others 2023); filler is any token
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"

namespace mneme {

struct RecallTask {
  std::string layout = "first";
  int64_t segment = 32;  // tokens of a segment
  int64_t segments = 4;  // of a document
  int64_t pairs = 4;     // pairs to remember
  int64_t keys = 16;     // keys to choose from
  int64_t values = 16;   // values to choose from
  int64_t queries = 2;   // first: asked in every later segment
  // first: asked in the first segment too, behind the pairs: so many at most, and at least. A memory learns
  // to rely on rehearsals that are always there.
  int64_t rehearsals = 0, rehearsals_least = 0;
  int64_t nearest = 1, farthest = 4;  // spread: segments between a pair and its question
  double power = 0.01;                // gaps: a gap g has weight g^(power - 1)
  void visit(OptionVisitor& v) {
    v.choice("layout", layout, {"first", "spread", "gaps"}, "where pairs and questions stand");
    v.field("segment", segment, "tokens of a segment");
    v.field("segments", segments, "segments of a document");
    v.field("pairs", pairs, "pairs of key and value of a document");
    v.field("keys", keys, "different keys");
    v.field("values", values, "different values");
    v.field("queries", queries, "first: questions in each later segment");
    v.field("rehearsals", rehearsals,
            "first: up to so many questions in the first segment too; they need no memory and teach the "
            "lookup");
    v.field("rehearsals_least", rehearsals_least,
            "first: and at least so many; to begin a training with, as a memory learns to rely on what is "
            "always there");
    v.field("nearest", nearest, "spread: least number of segments between a pair and its question");
    v.field("farthest", farthest, "spread: greatest number of segments between them");
    v.field("power", power, "gaps: exponent of the power law of the distances");
  }
  // Ids: 0 filler, 1 question mark, then keys, then values, then 4 more fillers.
  int64_t vocabulary() const { return 2 + keys + values + kFillers; }
  static constexpr int64_t kFillers = 4;
};

struct RecallDocument {
  std::vector<int64_t> ids;       // segments * segment
  std::vector<int64_t> labels;    // at a question's key the value that follows, else -100
  std::vector<int64_t> distance;  // there the number of segments since the pair, else -1
};

// Throws Error{usage} when pairs and questions do not fit the segments.
void check_task(const RecallTask& task);
// The same document for the same seed and index.
RecallDocument recall_document(const RecallTask& task, uint64_t seed, uint64_t index);

}  // namespace mneme
