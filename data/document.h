// A document on its way to tokens: text (or token ids, where the source holds those), and which bytes of it
// are trained on. A document is what memory begins and ends with: none of the code after this ever joins two.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mneme {

struct ByteRange {
  size_t begin, end;
};

struct Document {
  std::string text;
  std::vector<int32_t> ids;        // instead of text, from token files
  std::vector<uint8_t> counts;     // of ids: whether each counts in the loss; empty: all do
  bool masked = false;             // only `trained` counts in the loss; else everything does
  std::vector<ByteRange> trained;  // ascending, of `text`
  bool add_special = true;  // the tokenizer's own special tokens; chat templates write theirs themselves
  bool add_end = true;      // an end-of-text token after it
  std::string where;        // for messages: "books/a.txt", "chat.jsonl:17"
};

}  // namespace mneme
