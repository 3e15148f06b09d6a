// A memory method: what a text leaves behind, and how a segment reads and writes it. One implementation a
// method, one row of memory/registry.cc. It is not the reading loop (memory/read.h), which is written once
// for all methods and calls the moments below; and it never runs the decoder's layers itself but through a
// Pass (memory/pass.h).
//
//   open    a segment begins: what the memory gives to it (recall, retrieval)
//   extend  some of its tokens are run; for a closing row, its write positions ride along
//   close   the segment is over: what it leaves
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/options.h"
#include "memory/state.h"
#include "model/decoder.h"

namespace mneme {

// Text for some rows. ids live on the host, as the cutting into segments does.
struct Batch {
  Tensor ids;                  // int64 [B, T], CPU
  std::vector<int64_t> count;  // tokens of each row; empty: all T
  std::vector<bool> reset;     // rows that start a new text; empty: none
  Tensor mask;                 // bool [B, T], CPU: padding inside the text, for parity with the originals
  bool count_seen = false;  // parity too: positions count only slots that may be seen, as in generation there
  // Explicit segment ends of each row: numbers of this call's tokens after which a segment closes, ascending.
  // They replace the method's own grid for this call.
  std::optional<std::vector<std::vector<int64_t>>> ends;
  bool finish = false;  // the text ends here: a short last segment closes too
};

// Hidden vectors beside the text's own that have labels in training.
struct Prediction {
  Tensor hidden;                 // [N, E]
  std::vector<int64_t> row, at;  // the text token of the call whose label each shares, masked where that is
  int64_t token = -1;            // what they predict in its place; -1: the same
};

struct Reading {
  Tensor hidden;    // [B, T, E]: row t predicts text token t + 1; zero beyond a row's count
  Tensor aux_loss;  // scalar or undefined
  std::vector<Prediction> extra = {};
};

// What tests, metrics and pictures want to see of a reading. Filled only on request.
struct Trace {
  struct Item {
    std::string name;           // "memory", "recalled", "summary", "selected.3", ...
    std::vector<int64_t> rows;  // rows of the state that `value` [n, ...] speaks of
    int64_t segment = 0;        // of the first of these rows
    Tensor value;
  };
  std::vector<Item> items;
  bool slots = false;  // also "slots": hidden vectors of all slots of each pass, [n, slots, E]
  void put(std::string name, std::vector<int64_t> rows, int64_t segment, Tensor value) {
    items.push_back({std::move(name), std::move(rows), segment, std::move(value)});
  }
};

// One row's share of an extend: text tokens [offset, offset + count) of the batch's row, all of one segment.
struct Span {
  int64_t row = 0;  // of batch and state
  int64_t offset = 0, count = 0;
  bool opens = false, closes = false;
};

// Vectors that a method has computed ahead in one call of read(), by row and segment: what does not depend on
// the state can be computed for several segments in one pass. It ends with the call, so no state holds it.
using Prepared = std::map<std::pair<int64_t, int64_t>, Tensor>;

// What one call of read() hands to a method's moments.
struct Step {
  const Batch& batch;
  std::vector<Span> spans;       // rows that take part
  const Draws* draws = nullptr;  // random numbers in training; null: evaluation
  Trace* trace = nullptr;
  Prepared* prepared = nullptr;              // null: nothing is computed ahead
  std::vector<Prediction>* extra = nullptr;  // in training: where extend() puts predictions of its own

  // Where in this call the row's segments begin, from that of the span on, by explicit ends or a grid of so
  // many tokens; then where its text ends.
  std::vector<int64_t> begins(const Span& s, int64_t segment) const;
  std::vector<int64_t> ids(const Span& s) const;   // the span's tokens
  std::vector<uint8_t> seen(const Span& s) const;  // the batch's mask over the span; empty: none
};

// What a method promises less than the laws ask, with the reason; results repeat it.
struct Breach {
  std::string law;  // "causality", "split", "bound"
  std::string reason;
};

class Memory {
 public:
  virtual ~Memory() = default;

  virtual void initial(Row&) const {}  // a fresh row's own entries
  // Text tokens that training reads in one call; a method that trains on whole texts says kUnbounded.
  virtual int64_t training_room(const Row& fresh) const { return room(fresh); }
  virtual int64_t room(const Row&) const = 0;  // text tokens until the open segment closes; kUnbounded: never
  // Slots that the method runs for a segment of so many text tokens, beyond the text's own.
  virtual int64_t extra_slots(int64_t /*segment*/) const { return 0; }
  virtual void open(const Step&, State&) const {}  // for the spans that open a segment
  virtual Tensor extend(const Step&,
                        State&) const = 0;  // -> [n, Tmax, E], the text hidden vectors of each span
  virtual void close(const Step&, State&) const {
  }  // for the spans that close one; empties what the next must not see
  virtual int64_t text_kept() const {
    return 0;
  }  // tokens of Row::previous and Row::open that the method reads

  // Tokens of the vocabulary that are the method's own: no text holds them, and none is drawn.
  virtual std::vector<int64_t> unspoken() const { return {}; }

  // Many whole segments at once, where rows or segments do not depend on each other; the default declines.
  virtual std::optional<Reading> extend_segments(const Batch&, State&, const Draws*) const {
    return std::nullopt;
  }

  // Labels of Reading::extra in training, given those of a call's text [B, T] (negative: none) and its
  // counts (empty: all T): the loss is divided by all labels before the text is read.
  virtual int64_t extra_labels(const Tensor& /*labels*/, const std::vector<int64_t>& /*count*/,
                               const Draws*) const {
    return 0;
  }

  virtual std::vector<Breach> breaches() const { return {}; }
  // Upper bound of a row's bytes, whatever the text's length; -1: grows with the text.
  virtual int64_t bound() const = 0;
  // Parameters that the method adds, by the originals' names. Empty: none.
  virtual std::vector<Parameter> parameters() { return {}; }
  // Patterns (base/glob.h) of parameters, its own or the decoder's, that a training leaves as they are unless
  // it is told otherwise.
  virtual std::vector<std::string> frozen() const { return {}; }
  virtual void initialise(uint64_t /*seed*/) {}
  // Learned vectors and devices follow the decoder's.
  virtual void to(at::Device, at::ScalarType) {}
};

constexpr int64_t kUnbounded = int64_t{1} << 60;

}  // namespace mneme
