// Perplexity, two ways.
//
//   documents   the common protocol. Each document is read from its begin to its end with a memory that is
//               fresh at its begin, in segments on the method's grid, and each token but the first is
//               predicted exactly once, from all that came before. Reported are nats a token over all
//               tokens, with an interval over documents. The same tokens count for every method and every
//               use of the memory, so that differences mean something.
//   windows     the protocols of RMT and HMT, number for number. The documents' concatenation is cut into
//               overlapping windows, one each `block` tokens; each is read with a fresh memory, and its last
//               `block` tokens count. RMT: a block behind up to `history` tokens. HMT: one block, then
//               `history` tokens (its published grouping; data/recipes_hmt.h). A batch's windows are padded
//               on the left to the longest, and cut into segments behind the padding's begin: a text that is
//               shorter than the others starts in the middle of a segment, behind memories of nothing but
//               padding.
//
// RMT's block loses its first label (its mask is of the predicting position), and a window that is no longer
// than its block the first token, which nothing predicts.
#pragma once

#include "eval/documents.h"
#include "eval/intervals.h"
#include "eval/memory_use.h"

namespace mneme {

struct DepthLoss {
  int64_t first = 0;  // segments of the document before this stretch: 0, 1, 2, 4, 8, ...
  Part nats;
};

struct Perplexity {
  std::vector<Part> documents;  // nats and tokens of each, in their order
  std::vector<DepthLoss> by_depth;
  double nats() const { return ratio(documents); }
  double value() const;  // exp of the mean
  std::optional<double> bits_per_byte(
      const std::vector<EvalDocument>& of) const;  // nothing if bytes are unknown
};

// `rows` documents at a time, the longest first. Throws Error{usage} for uses that need two documents where
// there is one, and for a memory without segments.
Perplexity document_perplexity(const Model& model, const std::vector<EvalDocument>& documents, MemoryUse use,
                               int64_t rows);

// Tokens of `b` cost so much more than those of `a`, document by document: the memory's worth, say.
std::vector<Part> costs(const Perplexity& a, const Perplexity& b);

struct WindowProtocol {
  bool hmt = false;  // else RMT's
  int64_t block = 0, history = 0;
  int64_t most = 0;  // windows; 0: all
  int32_t pad = -1;  // token that fills short windows; -1: there is none, Error{usage} where one is needed
};
struct WindowPerplexity {
  int64_t windows = 0;
  double nats = 0;            // mean over batches of the mean over their counted tokens; RMT prints its exp
  double mean_of_exp = 0;     // mean over batches of exp of that: what HMT prints as its perplexity
  std::vector<Part> batches;  // the means
};
// `rows`: windows of a batch, of which their padding depends; what fills no batch is left out, as there.
WindowPerplexity window_perplexity(const Model& model, const std::vector<EvalDocument>& documents,
                                   const WindowProtocol& options, int64_t rows);

}  // namespace mneme
