#include "data/loader.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"

namespace mneme {

int64_t TokenBatch::labelled() const {
  return static_cast<int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), kNoLabel);
}

Loader::Loader(const TokenSet& tokens, const LoaderOptions& options, uint64_t seed, int64_t rank,
               int64_t world)
    : tokens_(tokens), options_(options), seed_(seed), rank_(rank), local_(0) {
  const auto wrong = [](const std::string& what) { throw Error(Kind::usage, "data loader: " + what); };
  if (world < 1 || rank < 0 || rank >= world)
    wrong("rank " + std::to_string(rank) + " of " + std::to_string(world));
  if (options_.rows < 1 || options_.rows % world != 0) {
    wrong("rows must be a multiple of the " + std::to_string(world) + " ranks, found " +
          std::to_string(options_.rows));
  }
  if (options_.length < 2) wrong("length must be at least 2");
  if (options_.segment == 0) options_.segment = options_.length;
  if (options_.segment < 1) wrong("segment must be positive");
  local_ = options_.rows / world;
  if (options_.layout == "windows") {
    if (tokens_.tokens() < options_.length + 1) {  // a window's last label is the token after it
      throw Error(Kind::input, "the data has " + std::to_string(tokens_.tokens()) +
                                   " tokens, too few for windows of " + std::to_string(options_.length));
    }
    return;
  }
  for (int64_t d = 0; d < tokens_.documents(); ++d) {
    if (tokens_.length(d) >= 2) usable_.push_back(d);
  }
  if (usable_.empty()) throw Error(Kind::input, "the data has no document of two tokens or more");
  if (tokens_.trained() == 0) throw Error(Kind::input, "not one token of the data counts in the loss");
  begin();
}

void Loader::begin() {
  step_ = epoch_ = cursor_ = 0;
  if (options_.layout == "windows") return;
  rows_.assign(static_cast<size_t>(options_.rows), {});
  order_documents();
}

void Loader::order_documents() {
  order_ = usable_;
  if (!options_.shuffle) return;
  Random random({.seed = seed_, .step = static_cast<uint64_t>(epoch_), .draw = Draw::shuffle});
  random.shuffle(order_);
}

int64_t Loader::take_document() {
  if (cursor_ == static_cast<int64_t>(order_.size())) {
    ++epoch_;
    cursor_ = 0;
    order_documents();
  }
  return order_[static_cast<size_t>(cursor_++)];
}

TokenBatch Loader::next() {
  TokenBatch batch;
  batch.rows = local_;
  batch.length = options_.length;
  batch.count.assign(static_cast<size_t>(local_), 0);
  batch.reset.assign(static_cast<size_t>(local_), 0);
  batch.last.assign(static_cast<size_t>(local_), 0);
  batch.ends.resize(static_cast<size_t>(local_));
  if (options_.layout == "documents") {
    fill_documents(batch);
  } else if (options_.layout == "windows") {
    fill_windows(batch);
  } else {
    fill_samples(batch);
  }
  ++step_;
  if (!options_.allow_unlabelled && batch.labelled() == 0) {
    throw Error(Kind::input,
                "batch " + std::to_string(step_) + " has nothing to learn: every token is masked",
                "use longer rows or more of them, or look at the masks with 'mneme data inspect'");
  }
  return batch;
}

void Loader::place(TokenBatch& batch, int64_t row, int64_t first, int64_t count, int64_t stream_end) {
  const int64_t read = std::min(count + 1, stream_end - first);
  scratch_ids_.resize(static_cast<size_t>(read));
  scratch_counts_.resize(static_cast<size_t>(read));
  tokens_.copy(first, read, scratch_ids_.data(), scratch_counts_.data());
  const int64_t base = row * batch.length;
  std::copy_n(scratch_ids_.begin(), count, batch.ids.begin() + base);
  for (int64_t t = 0; t + 1 < read; ++t) {
    if (scratch_counts_[static_cast<size_t>(t + 1)] != 0)
      batch.labels[static_cast<size_t>(base + t)] = scratch_ids_[static_cast<size_t>(t + 1)];
  }
  batch.count[static_cast<size_t>(row)] = count;
}

void Loader::fill_documents(TokenBatch& batch) {
  const auto size = static_cast<size_t>(batch.rows * batch.length);
  batch.ids.assign(size, 0);
  batch.labels.assign(size, kNoLabel);
  for (int64_t global = 0; global < options_.rows; ++global) {
    Row& row = rows_[static_cast<size_t>(global)];
    const bool fresh = row.document < 0;
    if (fresh) row = {take_document(), 0};
    const int64_t length = tokens_.length(row.document), count = std::min(batch.length, length - row.at);
    if (const int64_t local = global - rank_ * local_; local >= 0 && local < local_) {
      const auto r = static_cast<size_t>(local);
      place(batch, local, tokens_.begin_of(row.document) + row.at, count, tokens_.begin_of(row.document + 1));
      batch.reset[r] = fresh;
      batch.last[r] = row.at + count == length;
      // The grid of segments begins with the document, not with the batch.
      for (int64_t end = options_.segment - row.at % options_.segment; end <= count;
           end += options_.segment) {
        batch.ends[r].push_back(end);
      }
      if (batch.last[r] && (batch.ends[r].empty() || batch.ends[r].back() != count))
        batch.ends[r].push_back(count);
    }
    row.at += count;
    if (row.at == length) row.document = -1;
  }
}

void Loader::fill_windows(TokenBatch& batch) {
  const auto size = static_cast<size_t>(batch.rows * batch.length);
  batch.ids.assign(size, 0);
  batch.labels.assign(size, kNoLabel);
  for (int64_t local = 0; local < local_; ++local) {
    const auto global = static_cast<uint64_t>(rank_ * local_ + local);
    Random random(
        {.seed = seed_, .step = static_cast<uint64_t>(step_), .row = global, .draw = Draw::shuffle});
    const int64_t first =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(tokens_.tokens() - batch.length)));
    place(batch, local, first, batch.length, tokens_.tokens());
    const auto r = static_cast<size_t>(local);
    batch.reset[r] = batch.last[r] = 1;
    for (int64_t end = options_.segment; end < batch.length; end += options_.segment)
      batch.ends[r].push_back(end);
    batch.ends[r].push_back(batch.length);
  }
}

void Loader::fill_samples(TokenBatch& batch) {
  std::vector<int64_t> documents;
  for (int64_t global = 0; global < options_.rows; ++global) documents.push_back(take_document());
  int64_t longest = 0;  // of all ranks: their batches have one shape
  for (const int64_t d : documents) longest = std::max(longest, std::min(tokens_.length(d), options_.length));
  batch.length = longest;
  const auto size = static_cast<size_t>(batch.rows * batch.length);
  batch.ids.assign(size, 0);
  batch.labels.assign(size, kNoLabel);
  for (int64_t local = 0; local < local_; ++local) {
    const int64_t d = documents[static_cast<size_t>(rank_ * local_ + local)];
    const int64_t count = std::min(tokens_.length(d), options_.length), begin = tokens_.begin_of(d);
    place(batch, local, begin, count, begin + count);  // what is cut off is not predicted either
    const auto r = static_cast<size_t>(local);
    batch.reset[r] = batch.last[r] = 1;
    for (int64_t end = options_.segment; end < count; end += options_.segment) batch.ends[r].push_back(end);
    batch.ends[r].push_back(count);
  }
}

void Loader::seek(int64_t batches) {
  if (batches < step_) begin();
  if (options_.layout == "windows") {
    step_ = batches;
    return;
  }
  for (; step_ < batches; ++step_) {
    for (Row& row : rows_) {
      if (row.document < 0) row = {take_document(), 0};
      row.at += options_.length;
      if (options_.layout == "samples" || row.at >= tokens_.length(row.document)) row.document = -1;
    }
  }
}

std::string Loader::fingerprint() const {
  return options_.layout + " " + std::to_string(seed_) + " " + std::to_string(options_.rows) + " " +
         std::to_string(options_.length) + " " + std::to_string(options_.shuffle) + " " +
         std::to_string(tokens_.documents()) + " " + std::to_string(tokens_.tokens());
}

nlohmann::json Loader::position() const {
  nlohmann::json rows = nlohmann::json::array();
  if (options_.layout == "documents") {
    for (const Row& row : rows_) rows.push_back({row.document, row.at});
  }
  return {{"loader", fingerprint()}, {"step", step_}, {"epoch", epoch_}, {"cursor", cursor_}, {"rows", rows}};
}

void Loader::restore(const nlohmann::json& position) {
  const JsonReader reader(position, "data position");
  if (reader.string("loader") != fingerprint()) {
    throw Error(Kind::input, "the position belongs to other data or another way of reading it: it says \"" +
                                 reader.string("loader") + "\", this is \"" + fingerprint() + "\"");
  }
  const int64_t step = reader.integer_in("step", 0, INT64_MAX),
                epoch = reader.integer_in("epoch", 0, INT64_MAX);
  const int64_t cursor = reader.integer_in("cursor", 0, static_cast<int64_t>(usable_.size()));
  std::vector<Row> rows(rows_.size());
  const nlohmann::json& saved = reader.at("rows");
  if (options_.layout == "documents") {
    if (!saved.is_array() || saved.size() != rows.size()) reader.fail("rows", "one entry a row");
    for (size_t r = 0; r < rows.size(); ++r) {
      const nlohmann::json& entry = saved[r];
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_number_integer() ||
          !entry[1].is_number_integer()) {
        reader.fail("rows", "pairs of document and place");
      }
      rows[r] = {entry[0].get<int64_t>(), entry[1].get<int64_t>()};
      const bool fine =
          rows[r].document == -1 || (rows[r].document >= 0 && rows[r].document < tokens_.documents() &&
                                     rows[r].at >= 0 && rows[r].at < tokens_.length(rows[r].document));
      if (!fine) reader.fail("rows", "places inside of documents");
    }
  }
  rows_ = std::move(rows);
  step_ = step;
  epoch_ = epoch;
  cursor_ = cursor;
  if (options_.layout != "windows") order_documents();
}

}  // namespace mneme
