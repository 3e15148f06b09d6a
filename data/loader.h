// Batches for training, out of documents of tokens. Three ways to lay documents into rows:
//
//   documents   each row walks its own document, one batch after the other; a document ends inside of a
//               batch, and the row goes on with its next one in the next batch, with `reset` set. For
//               memories.
//   windows     tokens from random places of the stream of all documents. For models without a memory.
//   samples     one document a row, whole, padded on the right. For fine-tuning.
//
// What a batch holds depends on the seed and on how many batches came before, on nothing else: not on
// threads, and on the rank only in which rows of the global batch it sees. A position is a small JSON value;
// a loader that is put there goes on as the one that gave it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/token_set.h"

namespace mneme {

inline constexpr int32_t kNoLabel = -100;

struct LoaderOptions {
  std::string layout = "documents";
  int64_t rows = 8;      // of the global batch; a multiple of `world`
  int64_t length = 512;  // tokens of a row in one batch; in samples: the most
  int64_t segment = 0;   // tokens between two segment ends; 0: `length`
  bool shuffle = true;   // documents and samples; a new order in each epoch
  // A batch without a single label is an error. With this it is not: the caller adds up several batches to
  // one update and looks itself.
  bool allow_unlabelled = false;
};

struct TokenBatch {
  int64_t rows = 0, length = 0;
  std::vector<int32_t> ids;                // [rows, length], 0 beyond a row's count
  std::vector<int32_t> labels;             // [rows, length], the token that follows, or kNoLabel
  std::vector<int64_t> count;              // tokens of each row
  std::vector<uint8_t> reset;              // the row begins a text
  std::vector<uint8_t> last;               // the row's text ends with this batch
  std::vector<std::vector<int64_t>> ends;  // positions after which a segment of the row is complete
  int64_t labelled() const;
};

class Loader {
 public:
  // `tokens` must outlive it. Throws Error for options that do not fit, and if there is nothing to read.
  Loader(const TokenSet& tokens, const LoaderOptions& options, uint64_t seed, int64_t rank = 0,
         int64_t world = 1);

  TokenBatch next();
  int64_t step() const { return step_; }    // batches given so far
  int64_t epoch() const { return epoch_; }  // times that all documents were begun
  // To where so many calls of next() lead, without reading them. Cheap for windows; for the other layouts it
  // walks through the documents.
  void seek(int64_t batches);
  nlohmann::json position() const;
  void restore(const nlohmann::json& position);  // throws Error{input} for one of another loader

 private:
  struct Row {
    int64_t document = -1, at = 0;  // no document: the row begins its next one
  };
  int64_t take_document();
  void order_documents();
  void begin();
  void fill_documents(TokenBatch& batch);
  void fill_windows(TokenBatch& batch);
  void fill_samples(TokenBatch& batch);
  // Copies tokens of one document (or of the whole stream) into a row with their labels.
  void place(TokenBatch& batch, int64_t row, int64_t first, int64_t count, int64_t stream_end);
  std::string fingerprint() const;

  const TokenSet& tokens_;
  LoaderOptions options_;
  uint64_t seed_;
  int64_t rank_, local_;         // local_: rows of this rank
  std::vector<int64_t> usable_;  // documents of at least two tokens
  std::vector<int64_t> order_;
  std::vector<Row> rows_;  // of the global batch: every rank follows all of them
  int64_t step_ = 0, epoch_ = 0, cursor_ = 0;
  std::vector<int32_t> scratch_ids_;
  std::vector<uint8_t> scratch_counts_;
};

}  // namespace mneme
