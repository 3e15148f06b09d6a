// From texts to a folder of shards: read, tokenise on all threads, write. What comes out does not depend on
// the number of threads. An interrupted preparation goes on at its last whole shard; prepare.json in the
// folder says how far it is and what it was made with, and a folder made otherwise is not touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/sources.h"
#include "data/tokenize.h"

namespace mneme {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files and folders
  std::string out;
  SourceOptions source;
  TokenizeOptions tokenize;
  int64_t shard_tokens = int64_t{1} << 25;  // a document is never split, so a shard may be larger
  int64_t vocabulary = 0;                   // of token files where no tokenizer is given
  std::string fingerprint;                  // of what else shapes the documents, such as the chat template
};

struct PrepareReport {
  std::vector<SourceFile> files;
  int64_t shards = 0, documents = 0, tokens = 0, trained = 0;
  int64_t resumed = 0;    // documents that were there already
  int64_t untrained = 0;  // documents without a token that counts
  int stopped = 0;        // the exit code of the signal that ended it, at a whole shard
};

// `tokenizer` may be null if all inputs are token files.
PrepareReport prepare_data(const PrepareOptions& options, const Tokenizer* tokenizer);

// Whether it is a prepared folder or a shard, by its looks.
bool is_prepared(const std::string& path);
// The shards of a prepared folder, or the path itself if it is a shard. A folder whose preparation did not
// end is an Error{input}.
std::vector<std::string> prepared_shards(const std::string& path);

}  // namespace mneme
