// Multi-query associative recall across segments, over a small vocabulary of its own: pairs of a key and a
// value stand in the first segment of a document, filler follows, and every later segment asks for the values
// of some keys.
//
//   segment 0:   k1 v1 k2 v2 ...  filler
//   segment n:   filler  Q ki vi  filler ...          only vi is scored, at the place of ki
//
// Keys and values are drawn anew for each document, so that nothing but the memory of the text can answer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/options.h"

namespace mneme {

struct RecallTask {
  int64_t segment = 32;  // tokens of a segment
  int64_t segments = 4;  // of a document
  int64_t pairs = 4;     // pairs to remember
  int64_t keys = 16;     // keys to choose from
  int64_t values = 16;   // values to choose from
  int64_t queries = 2;   // asked in every later segment
  void visit(OptionVisitor& v) {
    v.field("segment", segment, "tokens of a segment");
    v.field("segments", segments, "segments of a document");
    v.field("pairs", pairs, "pairs of key and value in the first segment");
    v.field("keys", keys, "different keys");
    v.field("values", values, "different values");
    v.field("queries", queries, "questions in each later segment");
  }
  // Ids: 0 filler, 1 question mark, then keys, then values, then 4 more fillers.
  int64_t vocabulary() const { return 2 + keys + values + kFillers; }
  static constexpr int64_t kFillers = 4;
};

struct RecallDocument {
  std::vector<int64_t> ids;     // segments * segment
  std::vector<int64_t> labels;  // at a question's key the value that follows, else -100
};

// Throws Error{usage} when the pairs or questions do not fit a segment.
void check_task(const RecallTask& task);
// The same document for the same seed and index.
RecallDocument recall_document(const RecallTask& task, uint64_t seed, uint64_t index);

}  // namespace mneme
