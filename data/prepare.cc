#include "data/prepare.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/signals.h"
#include "data/shard.h"

namespace mneme {
namespace {

constexpr char kManifest[] = "prepare.json";
constexpr size_t kBatchBytes = size_t{8} << 20, kBatchDocuments = 4096;

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

struct Place {  // in the sources: documents of file `file` that are done
  size_t file = 0;
  int64_t documents = 0;
};

class Preparation {
 public:
  Preparation(const PrepareOptions& options, const Tokenizer* tokenizer)
      : options_(options), tokenizer_(tokenizer) {
    for (const std::string& input : options.inputs) {
      auto found = find_sources(input, options.source);
      report_.files.insert(report_.files.end(), found.begin(), found.end());
    }
    if (report_.files.empty()) throw Error(Kind::usage, "no input", "name files or folders to prepare");
    info_.tokenizer = tokenizer ? tokenizer->fingerprint() : 0;
    info_.vocabulary = static_cast<uint32_t>(tokenizer ? tokenizer->vocab_size() : vocabulary_of_files());
    const std::string settings = describe().dump();
    info_.settings = XXH64(settings.data(), settings.size(), 0);
  }

  PrepareReport run() {
    make_folders(options_.out);
    load_manifest();
    if (!done_) {
      ShardWriter writer(info_);
      Progress progress("data", "preparing", "tokens", std::nullopt);
      progress.start_from(static_cast<uint64_t>(report_.tokens));
      for (; place_.file < report_.files.size() && !report_.stopped; place_ = {place_.file + 1, 0}) {
        read_file(writer, progress);
        if (report_.stopped) return report_;
      }
      flush(writer);
      done_ = true;
      save_manifest();
      progress.finish();
    }
    if (report_.tokens == 0) throw Error(Kind::input, "no tokens came out of the input");
    if (report_.trained == 0) {
      throw Error(Kind::input, "not one token counts in the loss: everything is masked",
                  "look at the data with 'mneme data inspect'; train on everything with --train-all");
    }
    return report_;
  }

 private:
  int64_t vocabulary_of_files() const {
    int64_t most = options_.vocabulary;
    for (const SourceFile& file : report_.files) {
      const bool tokens = file.format == SourceFormat::nanogpt || file.format == SourceFormat::llmc;
      if (!tokens && (options_.vocabulary == 0 || file.description.find("token ids") == std::string::npos)) {
        throw Error(Kind::usage, file.path + " is " + file.description + ", and needs a tokenizer",
                    "give --tokenizer, or --vocabulary for token ids");
      }
      const bool wide = file.description.find("32-bit") != std::string::npos;
      if (options_.vocabulary == 0) most = std::max<int64_t>(most, wide ? 128256 : 65536);
    }
    return most;
  }

  // Everything that shapes the shards. Its hash is the settings' hash.
  nlohmann::json describe() const {
    nlohmann::json sources = nlohmann::json::array();
    for (const SourceFile& file : report_.files) {
      sources.push_back({{"path", file.path}, {"bytes", file_size(file.path)}, {"format", file.description}});
    }
    const SourceOptions& s = options_.source;
    return {{"sources", sources},
            {"tokenizer", hex(info_.tokenizer)},
            {"vocabulary", info_.vocabulary},
            {"separator", s.separator},
            {"end_id", s.end_id ? nlohmann::json(*s.end_id) : nlohmann::json()},
            {"text_key", s.record.text_key},
            {"now", s.record.now},
            {"train_all", s.record.train_all},
            {"special", options_.tokenize.special},
            {"end", options_.tokenize.end},
            {"plain", options_.tokenize.plain},
            {"shard_tokens", options_.shard_tokens},
            {"fingerprint", options_.fingerprint}};
  }

  void load_manifest() {
    const std::string path = join_path(options_.out, kManifest);
    if (!file_exists(path)) return;
    const nlohmann::json manifest = read_json(path);
    const JsonReader reader(manifest, path);
    if (reader.string("settings_hash") != hex(info_.settings)) {
      throw Error(Kind::usage,
                  options_.out + " holds data that was prepared from other input or in another way",
                  "choose another folder, or remove this one");
    }
    for (const auto& entry : reader.at("shards")) {
      const JsonReader shard(entry, path);
      const Shard file(join_path(options_.out, shard.string("name")), Shard::Check::header);
      if (file.info().settings != info_.settings)
        throw Error(Kind::input, file.path() + ": a shard of other data");
      shards_.push_back(entry);
      report_.documents += shard.integer("documents");
      report_.tokens += shard.integer("tokens");
      report_.trained += shard.integer("trained");
      place_ = {static_cast<size_t>(shard.integer("file")), shard.integer("documents_of_file")};
    }
    report_.untrained = reader.integer("untrained");
    report_.resumed = report_.documents;
    report_.shards = static_cast<int64_t>(shards_.size());
    done_ = reader.boolean("done");
  }

  void save_manifest() const {
    const nlohmann::json manifest = {{"format", "mneme tokens"},
                                     {"version", 1},
                                     {"done", done_},
                                     {"settings_hash", hex(info_.settings)},
                                     {"settings", describe()},
                                     {"untrained", report_.untrained},
                                     {"shards", shards_}};
    write_file(join_path(options_.out, kManifest), dump_json(manifest, 1) + "\n");
  }

  void flush(ShardWriter& writer) {
    if (writer.documents() == 0) return;
    const std::string name = fmt::format("{:05d}.tokens", shards_.size());
    writer.write(join_path(options_.out, name));
    shards_.push_back({{"name", name},
                       {"documents", writer.documents()},
                       {"tokens", writer.tokens()},
                       {"trained", writer.trained()},
                       {"file", place_.file},
                       {"documents_of_file", place_.documents}});
    ++report_.shards;
    writer.clear();
    save_manifest();
  }

  void read_file(ShardWriter& writer, Progress& progress) {
    const auto reader = open_documents(report_.files[place_.file], options_.source);
    reader->skip(place_.documents);
    for (bool more = true; more;) {
      std::vector<RawDocument> batch;
      size_t bytes = 0;
      while (bytes < kBatchBytes && batch.size() < kBatchDocuments) {
        RawDocument raw;
        more = reader->next(raw);
        if (!more) break;
        bytes += raw.document.text.size() + raw.record.size() + 4 * raw.document.ids.size();
        batch.push_back(std::move(raw));
      }
      for (TokenizedDocument& document : tokenize(batch)) {
        add(writer, document);
        progress.advance(document.ids.size());
        if (static_cast<int64_t>(writer.tokens()) < options_.shard_tokens) continue;
        flush(writer);
        report_.stopped = stop_.exit_code();
        if (report_.stopped) return;
      }
    }
  }

  // In the order of the batch, whatever thread did what.
  std::vector<TokenizedDocument> tokenize(std::vector<RawDocument>& batch) const {
    std::vector<TokenizedDocument> made(batch.size());
    std::vector<std::exception_ptr> failed(batch.size());
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < batch.size(); ++i) {
      try {
        Document document = finish(std::move(batch[i]), options_.source);
        if (!document.ids.empty()) {
          made[i] = {std::move(document.ids), std::move(document.counts)};
        } else {
          if (!tokenizer_)
            throw Error(Kind::usage, document.where + ": a text needs a tokenizer", "give --tokenizer");
          made[i] = tokenize_document(document, *tokenizer_, options_.tokenize);
        }
        check_ids(made[i], document.where);
      } catch (...) {
        failed[i] = std::current_exception();
      }
    }
    for (const auto& error : failed) {
      if (error) std::rethrow_exception(error);
    }
    return made;
  }

  void check_ids(const TokenizedDocument& document, const std::string& where) const {
    for (const int32_t id : document.ids) {
      if (id < 0 || static_cast<uint32_t>(id) >= info_.vocabulary) {
        throw Error(Kind::input, where + ": token " + std::to_string(id) +
                                     " is outside of the vocabulary of " + std::to_string(info_.vocabulary));
      }
    }
  }

  void add(ShardWriter& writer, const TokenizedDocument& document) {
    ++place_.documents;
    if (document.ids.empty()) return;
    writer.add(document);
    const auto count = static_cast<int64_t>(document.ids.size());
    const int64_t trained = document.trained.empty()
                                ? count
                                : std::count(document.trained.begin(), document.trained.end(), uint8_t{1});
    ++report_.documents;
    report_.tokens += count;
    report_.trained += trained;
    report_.untrained += trained == 0;
  }

  const PrepareOptions& options_;
  const Tokenizer* tokenizer_;
  ShardInfo info_;
  PrepareReport report_;
  StopSignals stop_;
  nlohmann::json shards_ = nlohmann::json::array();
  Place place_;
  bool done_ = false;
};

}  // namespace

PrepareReport prepare_data(const PrepareOptions& options, const Tokenizer* tokenizer) {
  return Preparation(options, tokenizer).run();
}

bool is_prepared(const std::string& path) {
  return is_folder(path) ? file_exists(join_path(path, kManifest)) : path.ends_with(".tokens");
}

std::vector<std::string> prepared_shards(const std::string& path) {
  if (!is_folder(path)) return {path};
  const std::string manifest_path = join_path(path, kManifest);
  if (!file_exists(manifest_path)) {
    throw Error(Kind::input, path + ": no prepared data here: " + kManifest + " is missing",
                "make it with 'mneme data prepare'");
  }
  const nlohmann::json manifest = read_json(manifest_path);
  const JsonReader reader(manifest, manifest_path);
  if (!reader.boolean("done")) {
    throw Error(Kind::input, path + ": the preparation did not end",
                "run the same 'mneme data prepare' again: it goes on");
  }
  std::vector<std::string> shards;
  for (const auto& entry : reader.at("shards"))
    shards.push_back(join_path(path, JsonReader(entry, manifest_path).string("name")));
  return shards;
}

}  // namespace mneme
