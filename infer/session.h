// A text that goes on between runs: its tokens, what the model remembers of them, and the last segment ends,
// to which it can go back. Copies of a state share pages, so segment ends kept in memory cost what changed
// since; in a file each costs its bytes.
//
//   Session s = Session::open_or_start(model, tokenizer, "story.state", {});
//   Completion c = s.go_on(ids, end_ids, options, seed);      // ids may be empty: go on from where it
//   stopped s.save("story.state");                                    // whole or not at all
//
// The last drawn token is not read before something follows it: stopping and going on gives what going on at
// once would have. Not a conversation: that is infer/chat.h.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "infer/generate.h"
#include "memory/state_file.h"

namespace mneme {

struct SessionOptions {
  int64_t keep = 0;
  void visit(OptionVisitor& v) { v.field("keep", keep, "segment ends that the session can go back to"); }
};

class Session {
 public:
  Session(const Model& model, std::shared_ptr<const Tokenizer> tokenizer, const SessionOptions& options = {});
  // Throws Error{input} with the reason when the file is another model's, or damaged, or no session. The
  // number of kept ends is the larger of the file's and the options'.
  static Session open(const Model& model, std::shared_ptr<const Tokenizer> tokenizer, const std::string& path,
                      const SessionOptions& options = {});
  static Session open_or_start(const Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                               const std::string& path, const SessionOptions& options = {});
  void save(const std::string& path) const;

  const std::vector<int64_t>& text() const { return text_; }
  const Row& row() const { return row_; }
  std::vector<int64_t> ends() const;  // positions that go_back() leads to, ascending
  Completion go_on(const std::vector<int64_t>& ids, const std::vector<int64_t>& end_ids,
                   const GenerateOptions& options, uint64_t seed, const GenerateHooks& hooks = {});
  // Reads a document, all but its last token, from where the session stands in it, `piece` tokens at a time.
  // `after` sees each piece; false: stop there. Throws Error{usage} when the session holds another text.
  void read(const std::vector<int64_t>& ids, int64_t piece, const std::function<bool(const Row&)>& after);
  // To the count-th last of the kept segment ends. Throws Error{usage} when there are not so many.
  void go_back(int64_t count);
  // The text becomes `ids`: what is known of their common beginning stays, from the latest kept place in it.
  void set_text(const std::vector<int64_t>& ids);
  // A place that set_text() may start from, in memory only; the last eight count.
  void remember_place();

  nlohmann::ordered_json extra;  // saved with it

 private:
  void read_to(int64_t position);
  void note_end(const Row& row);
  const std::string& print() const;
  Row best_place(int64_t most) const;

  const Model* model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t keep_ = 0;
  Row row_;
  std::vector<int64_t> text_;  // all tokens; those from row_.position on are not read yet
  std::deque<Row> ends_, places_;
  mutable std::string print_;
};

// The file without the model, for those who look at it, cut it or compare it.
struct SessionFile {
  std::vector<Row> rows;  // the text's end, then the kept segment ends, ascending
  std::vector<int64_t> text;
  int64_t keep = 0;
  nlohmann::ordered_json extra;
  std::string fingerprint;

  // `fingerprint` empty: any model's.
  static SessionFile read(const std::string& path, const std::string& fingerprint = {});
  void write(const std::string& path) const;
  void go_back(int64_t count);  // as Session::go_back
  void trim(int64_t keep);      // forgets older segment ends
};

// What two files differ in: fingerprints, the first token, tensors and how far; empty: nothing.
std::vector<std::string> session_differences(const SessionFile& a, const SessionFile& b);

}  // namespace mneme
