// mneme data: texts to token shards, a look at what will be trained on, and generated tasks.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/format.h"
#include "base/json.h"
#include "base/log.h"
#include "data/prepare.h"
#include "data/token_set.h"
#include "io/tokenizer_copy.h"
#include "tasks/associative_recall.h"
#include "tasks/needle.h"
#include "tasks/passkey.h"

namespace mneme {

extern const Command kDataCommand;
extern const Command kDataTokenizer;  // data_tokenizer.cc

namespace {

void put(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// How documents are read and tokenised: the same for preparing and for inspecting.
struct ReadOptions {
  std::string tokenizer, chat, separator, text_key = "text", now = "2024-01-01 00:00";
  std::optional<int64_t> end_id;
  int64_t vocabulary = 0;
  bool train_all = false, special = true, end = true, plain = false;
  void visit(OptionVisitor& v) {
    v.field("tokenizer", tokenizer, "model folder or tokenizer file; not needed for token files");
    v.field("chat", chat,
            "chat template for messages: a .jinja file, tokenizer_config.json or model folder; default: the "
            "tokenizer's");
    v.field("separator", separator,
            "splits text files into documents, \"<|endoftext|>\" say; default: a file is one");
    v.field("text_key", text_key, "the key of the text in JSON lines");
    v.field("now", now, "the time that chat templates see, the same on every day");
    v.field("end_id", end_id,
            "token files: the id between documents; default 50256, llm.c's 32-bit files 128000");
    v.field("vocabulary", vocabulary, "token files: one past the highest id; default 65536 or 128256");
    v.field("train_all", train_all, "prompts and what users say count in the loss too");
    v.field("special", special, "the tokenizer's own special tokens around each document");
    v.field("end", end, "its end-of-text token after each document");
    v.field("plain", plain, "names of special tokens in texts are ordinary text");
  }
};

// The tokenizer, the chat template, and the options that refer to them.
struct Reading {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  SourceOptions source;
  TokenizeOptions tokenize;
  std::string fingerprint;  // of the chat template's text
};

std::string folder_of(const std::string& path) {
  if (is_folder(path)) return path;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::optional<ChatTemplate> chat_of(const ReadOptions& o, const Tokenizer* tokenizer) {
  if (!o.chat.empty()) return ChatTemplate::open(o.chat);
  if (!tokenizer) return std::nullopt;
  const std::string folder = folder_of(o.tokenizer);
  for (const char* name : {"chat_template.jinja", "tokenizer_config.json"}) {
    const std::string path = join_path(folder, name);
    if (!file_exists(path)) continue;
    if (path.ends_with(".json") && !read_json(path).contains("chat_template")) continue;
    return ChatTemplate::open(folder);
  }
  if (tokenizer->chat_template().empty()) return std::nullopt;
  return ChatTemplate(tokenizer->chat_template(), o.tokenizer);
}

void set_up(Reading& reading, const ReadOptions& o) {
  if (!o.tokenizer.empty()) reading.tokenizer = load_tokenizer(o.tokenizer);
  reading.chat = chat_of(o, reading.tokenizer.get());
  if (reading.chat && reading.tokenizer) {
    const auto& ids = reading.tokenizer->special();
    for (const auto& [name, id] : {std::pair("bos_token", ids.bos), {"eos_token", ids.eos}}) {
      if (id >= 0) reading.chat->set_token(name, reading.tokenizer->piece_of(id).value_or(""));
    }
  }
  SourceOptions& source = reading.source;
  source.record = {reading.chat ? &*reading.chat : nullptr, o.text_key, o.now, o.train_all};
  source.separator = o.separator;
  if (o.end_id) source.end_id = static_cast<int32_t>(*o.end_id);
  reading.tokenize = {o.special, o.end, o.plain};
  if (reading.chat) reading.fingerprint = reading.chat->source();
}

// --- prepare

struct PrepareCommandOptions {
  CommonOptions common;
  std::vector<std::string> input;
  std::string out;
  int64_t shard_tokens = int64_t{1} << 25;
  ReadOptions read;
  void visit(OptionVisitor& v) {
    v.positional("input", input,
                 "files and folders: .txt, .jsonl (.gz, .zst), token files of nanoGPT and llm.c",
                 Need::required);
    v.required("out", out, "folder for the shards");
    v.field("shard_tokens", shard_tokens, "tokens of a shard; documents are never split");
    read.visit(v);
    common.visit(v);
  }
};

extern const Command kPrepare;

int run_prepare(int argc, const char* const* argv) {
  PrepareCommandOptions o;
  if (!read_options(kPrepare, argc, argv, o)) return 0;
  if (o.shard_tokens < 1) throw Error(Kind::usage, "shard_tokens must be positive");
  Reading reading;
  set_up(reading, o.read);
  PrepareOptions options;
  options.inputs = o.input;
  options.out = o.out;
  options.source = reading.source;
  options.tokenize = reading.tokenize;
  options.shard_tokens = o.shard_tokens;
  options.vocabulary = o.read.vocabulary;
  options.fingerprint = reading.fingerprint;
  const PrepareReport report = prepare_data(options, reading.tokenizer.get());
  if (!o.read.tokenizer.empty())
    take_tokenizer_along(o.read.tokenizer, o.out);  // to the models trained on it
  for (const SourceFile& file : report.files) log_info("data", "{}: {}", file.path, file.description);
  if (report.resumed > 0) log_info("data", "{} documents were there already", report.resumed);
  if (report.untrained > 0)
    log_warning("data", "{} documents have no token that counts in the loss", report.untrained);
  if (o.common.json) {
    const nlohmann::json line = {{"out", o.out},
                                 {"shards", report.shards},
                                 {"documents", report.documents},
                                 {"tokens", report.tokens},
                                 {"trained", report.trained},
                                 {"untrained", report.untrained},
                                 {"resumed", report.resumed},
                                 {"done", report.stopped == 0}};
    put(dump_json(line) + "\n");
  } else {
    put(format_grouped(static_cast<uint64_t>(report.documents)) + " documents, " +
        format_grouped(static_cast<uint64_t>(report.tokens)) + " tokens, " +
        format_grouped(static_cast<uint64_t>(report.trained)) + " of them trained, in " +
        std::to_string(report.shards) + " shards in " + o.out + "\n");
  }
  return report.stopped;
}

// --- inspect

struct InspectOptions {
  CommonOptions common;
  std::vector<std::string> input;
  int64_t show = 1, from = 0, most = 600, limit = 10000;
  std::string colour = "auto";
  ReadOptions read;
  void visit(OptionVisitor& v) {
    v.positional("input", input, "a prepared folder or shard, or what 'data prepare' takes", Need::required);
    v.field("show", show, "documents to print");
    v.field("from", from, "number of the first one to print");
    v.field("most", most, "tokens to print of each");
    v.field("limit", limit, "documents to read and count, where the input is not prepared yet");
    v.choice("colour", colour, {"auto", "always", "never"},
             "trained tokens green, masked ones grey; without: masked ones in [[ ]]");
    read.visit(v);
    common.visit(v);
  }
};

extern const Command kInspect;

std::string visible(std::string text) {  // no escape sequences of a text reach the terminal
  std::string out;
  for (const char c : text) {
    if (c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    } else {
      out += '?';
    }
  }
  return out;
}

// Runs of trained and of masked tokens, each in its colour.
std::string painted(const TokenizedDocument& document, const Tokenizer* tokenizer, int64_t most,
                    bool colour) {
  const auto size = std::min(static_cast<size_t>(std::max<int64_t>(most, 0)), document.ids.size());
  const auto counts = [&](size_t i) { return document.trained.empty() || document.trained[i] != 0; };
  std::string out;
  for (size_t begin = 0, end = 0; begin < size; begin = end) {
    for (end = begin + 1; end < size && counts(end) == counts(begin);) ++end;
    const std::span<const int32_t> run(document.ids.data() + begin, end - begin);
    std::string text;
    if (tokenizer) {
      text = visible(tokenizer->decode(run, false));
    } else {
      for (const int32_t id : run) text += std::to_string(id) + " ";
    }
    if (colour) {
      out += (counts(begin) ? "\x1b[32m" : "\x1b[90m") + text + "\x1b[0m";
    } else {
      out += counts(begin) ? text : "[[" + text + "]]";
    }
  }
  if (size < document.ids.size())
    out += " ... (" + std::to_string(document.ids.size() - size) + " more tokens)";
  return out;
}

struct Counts {
  int64_t documents = 0, tokens = 0, trained = 0, longest = 0;
  void add(const TokenizedDocument& document) {
    const auto size = static_cast<int64_t>(document.ids.size());
    ++documents;
    tokens += size;
    longest = std::max(longest, size);
    trained += document.trained.empty()
                   ? size
                   : std::count(document.trained.begin(), document.trained.end(), uint8_t{1});
  }
};

class Inspection {
 public:
  explicit Inspection(const InspectOptions& o) : o_(o) {
    set_up(reading_, o.read);
    const bool terminal = isatty(STDOUT_FILENO) != 0 && !std::getenv("NO_COLOR");
    colour_ = o.colour == "always" || (o.colour == "auto" && terminal);
  }

  int run() {
    for (const std::string& input : o_.input) {
      if (is_prepared(input)) {
        shards(input);
      } else {
        sources(input);
      }
    }
    return 0;
  }

 private:
  void shards(const std::string& input) {
    const TokenSet set = TokenSet::open(input);
    if (reading_.tokenizer && set.tokenizer() != 0 && set.tokenizer() != reading_.tokenizer->fingerprint()) {
      throw Error(Kind::input, input + ": prepared with another tokenizer than " + o_.read.tokenizer);
    }
    Counts counts;
    counts.documents = set.documents();
    counts.tokens = set.tokens();
    counts.trained = set.trained();
    for (int64_t d = 0; d < set.documents(); ++d) {
      counts.longest = std::max(counts.longest, set.length(d));
      if (d >= o_.from && d < o_.from + o_.show) show(d, document_of(set, d), input);
    }
    report(input, "token shards, every checksum right", counts);
  }

  static TokenizedDocument document_of(const TokenSet& set, int64_t d) {
    TokenizedDocument document;
    document.ids.resize(static_cast<size_t>(set.length(d)));
    document.trained.resize(document.ids.size());
    set.copy(set.begin_of(d), set.length(d), document.ids.data(), document.trained.data());
    return document;
  }

  void sources(const std::string& input) {
    for (const SourceFile& file : find_sources(input, reading_.source)) {
      const auto reader = open_documents(file, reading_.source);
      Counts counts;
      for (RawDocument raw; counts.documents < o_.limit && reader->next(raw);) {
        const int64_t d = counts.documents;
        const Document document = finish(std::move(raw), reading_.source);
        if (!reading_.tokenizer && document.ids.empty()) {
          throw Error(Kind::usage, file.path + " is " + file.description + ", and needs a tokenizer",
                      "give --tokenizer");
        }
        TokenizedDocument tokens;
        if (document.ids.empty()) {
          tokens = tokenize_document(document, *reading_.tokenizer, reading_.tokenize);
        } else {
          tokens = {document.ids, document.counts};
        }
        counts.add(tokens);
        if (d >= o_.from && d < o_.from + o_.show) show(d, tokens, document.where);
      }
      report(file.path, file.description, counts);
    }
  }

  void show(int64_t number, const TokenizedDocument& document, const std::string& where) const {
    if (o_.common.json) return;
    put("--- document " + std::to_string(number) + " of " + where + ", " +
        std::to_string(document.ids.size()) + " tokens\n" +
        painted(document, reading_.tokenizer.get(), o_.most, colour_) + "\n");
  }

  void report(const std::string& name, const std::string& format, const Counts& c) const {
    if (o_.common.json) {
      const nlohmann::json line = {
          {"input", name},       {"format", format},     {"documents", c.documents},
          {"tokens", c.tokens},  {"trained", c.trained}, {"masked", c.tokens - c.trained},
          {"longest", c.longest}};
      put(dump_json(line) + "\n");
      return;
    }
    const auto number = [](int64_t n) { return format_grouped(static_cast<uint64_t>(n)); };
    put(name + ": " + format + "\n  " + number(c.documents) + " documents, the longest of " +
        number(c.longest) + " tokens\n  " + number(c.tokens) + " tokens: " + number(c.trained) +
        " trained, " + number(c.tokens - c.trained) + " masked\n");
  }

  const InspectOptions& o_;
  Reading reading_;
  bool colour_ = false;
};

int run_inspect(int argc, const char* const* argv) {
  InspectOptions o;
  if (!read_options(kInspect, argc, argv, o)) return 0;
  return Inspection(o).run();
}

// --- synth

struct SynthOptions {
  CommonOptions common;
  std::string task = "passkey", out = "-";
  int64_t count = 100, first = 0, filling = 1000;
  NeedleTask needle;
  RecallTask recall;
  void visit(OptionVisitor& v) {
    v.choice("task", task, {"passkey", "needle", "recall"},
             "what to generate; recall gives token ids, the others text");
    v.field("out", out, "JSON lines file; - writes to standard output");
    v.field("count", count, "examples");
    v.field("first", first, "number of the first; examples depend on the seed and their number alone");
    v.field("filling", filling, "passkey: characters of text around the key");
    v.section("needle", needle, "facts hidden in a text");
    v.section("recall", recall, "pairs of keys and values in segments");
    common.visit(v);
  }
};

extern const Command kSynth;

nlohmann::ordered_json example(const SynthOptions& o, uint64_t index) {
  const auto seed = static_cast<uint64_t>(o.common.seed);
  if (o.task == "recall") {
    const RecallDocument made = recall_document(o.recall, seed, index);
    return {{"ids", made.ids}, {"labels", made.labels}, {"distance", made.distance}};
  }
  if (o.task == "needle") {
    const NeedleExample made = needle_example(o.needle, seed, index);
    return {{"prompt", made.prompt}, {"completion", made.completion}, {"answers", made.answers}};
  }
  const PasskeyExample made = passkey_example(o.filling, seed, index);
  const std::string key = std::to_string(made.key);
  return {{"prompt", made.prompt}, {"completion", " " + key + "."}, {"answers", {key}}};
}

int run_synth(int argc, const char* const* argv) {
  SynthOptions o;
  if (!read_options(kSynth, argc, argv, o)) return 0;
  if (o.count < 1 || o.first < 0) throw Error(Kind::usage, "count must be positive and first not negative");
  std::optional<AtomicFile> file;
  if (o.out != "-") file.emplace(o.out);
  for (int64_t i = 0; i < o.count; ++i) {
    const std::string line = example(o, static_cast<uint64_t>(o.first + i)).dump() + "\n";
    if (file) {
      file->write(line);
    } else {
      put(line);
    }
  }
  if (file) file->commit();
  return 0;
}

// --- all together

const Command kPrepare = {
    "data prepare", "tokenise texts into shards; an interrupted run goes on where it was",
    "mneme data prepare INPUT... --tokenizer PATH --out FOLDER",
    "mneme data prepare books/ chats.jsonl.zst --tokenizer models/llama --out data/books", run_prepare};
const Command kInspect = {"data inspect", "show documents with what of them is trained, and count",
                          "mneme data inspect INPUT... [--tokenizer PATH] [--show N]",
                          "mneme data inspect chats.jsonl --tokenizer models/llama --show 3", run_inspect};
const Command kSynth = {"data synth", "generate examples of a task as JSON lines",
                        "mneme data synth --task NAME --count N [--out FILE]",
                        "mneme data synth --task needle --needle.keys 4 --count 1000 --out needle.jsonl",
                        run_synth};

int run_data(int argc, const char* const* argv) {
  const Command* parts[] = {&kPrepare, &kInspect, &kSynth, &kDataTokenizer};
  const std::string word = argc > 1 ? argv[1] : "--help";
  for (const Command* part : parts) {
    if (part->name.substr(5) == word) return part->run(argc - 1, argv + 1);
  }
  if (word == "--help=markdown") {
    for (const Command* part : parts) {
      const char* help[] = {part->name.data(), argv[1]};
      part->run(2, help);
    }
    return 0;
  }
  if (word == "--help" || word == "-h") {
    put("mneme data: " + std::string(kDataCommand.summary) + "\n\n");
    for (const Command* part : parts) {
      put("  " + std::string(part->usage) + "\n      " + std::string(part->summary) + "\n");
    }
    put("\neach with --help\n");
    return 0;
  }
  throw Error(Kind::usage, "unknown 'mneme data " + word + "'",
              "there are: prepare, inspect, synth, tokenizer");
}

}  // namespace

const Command kDataCommand = {"data", "prepare, inspect and generate training data",
                              "mneme data prepare|inspect|synth|tokenizer ...",
                              "mneme data inspect chats.jsonl --tokenizer models/llama", run_data};

}  // namespace mneme
