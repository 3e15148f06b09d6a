// How the original of HMT makes samples of documents, beside the ways of data/loader.h: for its published
// runs and the reference cases. Where it differs from what was meant, the difference is an option with the
// quirk's name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mneme {

using Ids = std::vector<int32_t>;

// Overlapping samples of the documents' concatenation, one for each block of `block` tokens. Meant was a
// block with up to `history` tokens before it. With `swapped_grouping`, as published, the two sizes change
// places: a sample is one block of history and `history` tokens from the block's begin on.
std::vector<Ids> hmt_samples(const std::vector<Ids>& documents, int64_t block, int64_t history,
                             bool swapped_grouping);

// Documents in pairs (0 with 1, 2 with 3, ...): `length` tokens of one, then of the other, while both have
// some at that place; then what is left. A last document without a partner stays as it is.
std::vector<Ids> hmt_interleave(const std::vector<Ids>& documents, int64_t length);

// After every `length` tokens (and after the rest) `length` copies of `filler`.
std::vector<Ids> hmt_dilate(const std::vector<Ids>& documents, int64_t length, int32_t filler);

struct LeftPadded {
  int64_t rows = 0, length = 0;
  Ids input_ids, labels, attention_mask;  // [rows, length]; labels -100 at padding
  Ids labels_mask;  // [rows, length], 1 at the last `block` places; empty if length == block
};
LeftPadded hmt_collate(const std::vector<Ids>& samples, int32_t pad, int64_t block);

struct PubMedRow {
  std::vector<std::string> contexts;
  std::string question, long_answer;
};
// Texts that switch topics: the contexts of `fuse` rows, one after the other, then a question and its answer;
// one text for each question. `squared_index`, as published, multiplies the row's index with `fuse` twice and
// so passes rows over.
std::vector<std::string> pubmed_texts(const std::vector<PubMedRow>& rows, int64_t fuse, bool squared_index);

// Python's round(length * fraction): halves go to the even side.
int64_t hmt_round(int64_t length, double fraction);

}  // namespace mneme
