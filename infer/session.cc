#include "infer/session.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "memory/read.h"

namespace mneme {
namespace {

constexpr size_t kPlaces = 8;

[[noreturn]] void not_so_many(int64_t count, size_t kept) {
  throw Error(
      Kind::usage,
      "cannot go back " + std::to_string(count) + " segment ends: " + std::to_string(kept) + " are kept",
      "sessions keep as many as --session.keep says");
}

}  // namespace

Session::Session(const Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                 const SessionOptions& options)
    : model_(&model), tokenizer_(std::move(tokenizer)), keep_(options.keep), row_(model.initial(1).rows[0]) {
  if (keep_ < 0) throw Error(Kind::usage, "session.keep must be at least 0, it is " + std::to_string(keep_));
}

Session Session::open(const Model& model, std::shared_ptr<const Tokenizer> tokenizer, const std::string& path,
                      const SessionOptions& options) {
  Session s(model, std::move(tokenizer), options);
  SessionFile file = SessionFile::read(path, s.print());
  const int64_t vocab = model.decoder->config().vocab;
  for (const int64_t id : file.text) {
    if (id >= vocab) throw Error(Kind::input, path + ": a token of its text is not in the vocabulary");
  }
  s.keep_ = std::max(options.keep, file.keep);
  s.row_ = std::move(file.rows[0]);
  s.ends_.assign(std::make_move_iterator(file.rows.begin() + 1), std::make_move_iterator(file.rows.end()));
  s.text_ = std::move(file.text);
  s.extra = std::move(file.extra);
  return s;
}

Session Session::open_or_start(const Model& model, std::shared_ptr<const Tokenizer> tokenizer,
                               const std::string& path, const SessionOptions& options) {
  if (file_exists(path)) return open(model, std::move(tokenizer), path, options);
  // Better now than after all the work.
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  if (!is_folder(folder) || is_folder(path)) {
    throw Error(Kind::input, "'" + path + "' is no place for a session",
                is_folder(path) ? "it is a folder: name a file" : "there is no folder '" + folder + "'");
  }
  return Session(model, std::move(tokenizer), options);
}

const std::string& Session::print() const {
  if (print_.empty())
    print_ = fingerprint(*model_, tokenizer_ ? std::to_string(tokenizer_->fingerprint()) : "");
  return print_;
}

void Session::save(const std::string& path) const {
  SessionFile file;
  file.rows.push_back(row_);
  file.rows.insert(file.rows.end(), ends_.begin(), ends_.end());
  file.text = text_;
  file.keep = keep_;
  file.extra = extra;
  file.fingerprint = print();
  file.write(path);
}

std::vector<int64_t> Session::ends() const {
  std::vector<int64_t> out;
  for (const Row& r : ends_) out.push_back(r.position);
  return out;
}

void Session::note_end(const Row& row) {
  if (keep_ == 0 || row.phase != 0 || row.position == 0) return;
  if (!ends_.empty() && ends_.back().position >= row.position) return;
  ends_.push_back(row);
  if (static_cast<int64_t>(ends_.size()) > keep_) ends_.pop_front();
}

// With segment ends to keep, a segment at a time; else all at once.
void Session::read_to(int64_t position) {
  const at::NoGradGuard no_grad;
  while (row_.position < position) {
    int64_t count = position - row_.position;
    if (keep_ > 0) count = std::min(count, model_->memory->room(row_));
    Batch batch;
    const auto from = text_.begin() + static_cast<std::ptrdiff_t>(row_.position);
    batch.ids = at::tensor(std::vector<int64_t>(from, from + static_cast<std::ptrdiff_t>(count)), at::kLong)
                    .unsqueeze(0);
    // Moved, not copied: the owner of the last page goes on filling it. A read that throws leaves it as it
    // was.
    State state;
    state.rows.push_back(std::move(row_));
    try {
      mneme::read(*model_, batch, state);
    } catch (...) {
      row_ = std::move(state.rows[0]);
      throw;
    }
    row_ = std::move(state.rows[0]);
    note_end(row_);
  }
}

Row Session::best_place(int64_t most) const {
  const Row* best = nullptr;
  const auto consider = [&](const Row& r) {
    if (r.position <= most && (best == nullptr || r.position > best->position)) best = &r;
  };
  for (const Row& r : ends_) consider(r);
  for (const Row& r : places_) consider(r);
  consider(row_);
  return best != nullptr ? *best : model_->initial(1).rows[0];
}

void Session::set_text(const std::vector<int64_t>& ids) {
  const auto common = static_cast<int64_t>(
      std::mismatch(text_.begin(), text_.end(), ids.begin(), ids.end()).first - text_.begin());
  row_ = best_place(std::min(common, static_cast<int64_t>(ids.size())));
  const auto later = [&](const Row& r) { return r.position > row_.position; };
  ends_.erase(std::remove_if(ends_.begin(), ends_.end(), later), ends_.end());
  places_.erase(std::remove_if(places_.begin(), places_.end(), later), places_.end());
  text_ = ids;
}

void Session::remember_place() {
  places_.push_back(row_);
  if (places_.size() > kPlaces) places_.pop_front();
}

void Session::go_back(int64_t count) {
  if (count < 0 || count > static_cast<int64_t>(ends_.size())) not_so_many(count, ends_.size());
  if (count == 0) return;
  const Row& to = ends_[ends_.size() - static_cast<size_t>(count)];
  set_text({text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(to.position)});
}

void Session::read(const std::vector<int64_t>& ids, int64_t piece,
                   const std::function<bool(const Row&)>& after) {
  MNEME_CHECK(piece > 0, "pieces of no tokens");
  const auto differ = std::mismatch(text_.begin(), text_.end(), ids.begin(), ids.end());
  if (differ.first != text_.end() && differ.second != ids.end()) {
    throw Error(Kind::usage,
                "the session holds another text: it differs at token " +
                    std::to_string(differ.first - text_.begin()) + " of " + std::to_string(text_.size()),
                "use another session file");
  }
  if (ids.size() > text_.size()) text_ = ids;
  const auto last = static_cast<int64_t>(ids.size()) - 1;
  while (row_.position < last) {
    read_to(std::min(row_.position + piece, last));
    if (!after(row_)) return;
  }
}

Completion Session::go_on(const std::vector<int64_t>& ids, const std::vector<int64_t>& end_ids,
                          const GenerateOptions& options, uint64_t seed, const GenerateHooks& hooks) {
  std::vector<int64_t> text = text_;
  text.insert(text.end(), ids.begin(), ids.end());
  if (text.empty())
    throw Error(Kind::input, "an empty text: there is no token to go on from", "give a prompt");
  const auto last = static_cast<int64_t>(text.size()) - 1;
  if (row_.position > last)
    row_ = best_place(last);  // everything was read: the last token is needed once more
  text_ = std::move(text);
  read_to(last);
  GenerateOptions own = options;
  own.read_last = false;
  own.samples = 1;
  GenerateHooks with_ends = hooks;
  with_ends.on_read = [&](int64_t r, const Row& row) {
    note_end(row);
    if (hooks.on_read) hooks.on_read(r, row);
  };
  State state;
  state.rows.push_back(row_);
  Completion c =
      generate(*model_, tokenizer_.get(), {{text_.back()}}, end_ids, own, seed, state, with_ends)[0];
  row_ = std::move(state.rows[0]);
  text_.insert(text_.end(), c.ids.begin(), c.ids.end());
  return c;
}

}  // namespace mneme
