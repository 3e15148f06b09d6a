// mneme data tokenizer: a byte-level BPE from texts.
#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/format.h"
#include "base/log.h"
#include "base/progress.h"
#include "data/sources.h"
#include "text/bpe_trainer.h"

namespace mneme {

extern const Command kDataTokenizer;

namespace {

struct TokenizerOptions {
  CommonOptions common;
  std::vector<std::string> input, special = {"<|endoftext|>"};
  std::string out = "tokenizer.json", pattern, text_key = "text";
  int64_t vocabulary = 8192, least_count = 2;
  void visit(OptionVisitor& v) {
    v.positional("input", input, "text files, JSON lines, or folders of them");
    v.field("out", out, "the file to write");
    v.field("vocabulary", vocabulary, "ids in all: special tokens, 256 bytes, and merged pieces");
    v.field("special", special, "special tokens; they take the first ids");
    v.field("pattern", pattern,
            "what words are, as a regular expression; empty: GPT-2's. No piece crosses a word's edge");
    v.field("least_count", least_count, "rarer pairs are not merged");
    v.field("text_key", text_key, "the key of the text in JSON lines");
    common.visit(v);
  }
};

int run_data_tokenizer(int argc, const char* const* argv) {
  TokenizerOptions o;
  if (!read_options(kDataTokenizer, argc, argv, o)) return 0;
  if (o.input.empty()) throw Error(Kind::usage, "there is nothing to learn from", "name texts");
  BpeTrainer trainer(
      {.vocab_size = o.vocabulary, .special = o.special, .pattern = o.pattern, .least_count = o.least_count});
  SourceOptions source;
  source.record.text_key = o.text_key;
  Progress progress("data", "reading", "documents", {});
  uint64_t bytes = 0;
  for (const std::string& path : o.input) {
    for (const SourceFile& file : find_sources(path, source)) {
      const auto reader = open_documents(file, source);
      for (RawDocument raw; reader->next(raw);) {
        const Document document = finish(std::move(raw), source);
        if (!document.ids.empty())
          throw Error(Kind::input, document.where + ": expected text, found token ids", "name texts");
        trainer.add(document.text);
        bytes += document.text.size();
        progress.advance();
      }
    }
  }
  progress.finish();
  const TrainedBpe trained = trainer.train();
  write_file(o.out, to_tokenizer_json(trained));
  log_info("data", "{}: {} special tokens and {} pieces from {} of text", o.out, trained.special.size(),
           trained.pieces.size(), format_bytes(static_cast<double>(bytes)));
  return 0;
}

}  // namespace

const Command kDataTokenizer = {
    "data tokenizer", "learn a byte-level BPE from texts", "mneme data tokenizer INPUT... --out FILE",
    "mneme data tokenizer books/ --vocabulary 8192 --out tokenizer.json", run_data_tokenizer};

}  // namespace mneme
