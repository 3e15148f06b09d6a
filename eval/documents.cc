#include "eval/documents.h"

#include <algorithm>

#include "base/error.h"
#include "data/prepare.h"
#include "data/token_set.h"

namespace mneme {
namespace {

// What a document of so many tokens decodes to is not known before it is cut, so bytes are counted after.
void cut(EvalDocument& d, const Tokenizer* tokenizer, int64_t most) {
  if (most <= 0 || static_cast<int64_t>(d.ids.size()) <= most) return;
  d.ids.resize(static_cast<size_t>(most));
  d.bytes = tokenizer ? static_cast<int64_t>(tokenizer->decode(d.ids, /*skip_special=*/true).size())
                      : std::max<int64_t>(0, most - 1);
}

class Collector {
 public:
  Collector(const Tokenizer* tokenizer, const DocumentChoice& choice)
      : tokenizer_(tokenizer), choice_(choice) {}

  void read(const std::string& input) {
    if (is_prepared(input)) {
      prepared(input);
    } else {
      for (const SourceFile& file : find_sources(input, {})) source(file);
    }
  }
  std::vector<EvalDocument> take() { return std::move(found_); }

 private:
  bool full() const { return choice_.most > 0 && static_cast<int64_t>(found_.size()) >= choice_.most; }

  void prepared(const std::string& input) {
    if (choice_.as_bytes) throw Error(Kind::usage, input + " holds tokens, not texts to read as bytes");
    const TokenSet set = TokenSet::open(input);
    if (tokenizer_ && set.tokenizer() != 0 && set.tokenizer() != tokenizer_->fingerprint())
      throw Error(Kind::input, input + ": prepared with another tokenizer than the model's");
    std::vector<uint8_t> unused;
    for (int64_t d = 0; d < set.documents() && !full(); ++d) {
      EvalDocument document{input + ":" + std::to_string(d), {}, 0};
      const int64_t count = choice_.tokens > 0 ? std::min(choice_.tokens, set.length(d)) : set.length(d);
      document.ids.resize(static_cast<size_t>(count));
      unused.resize(document.ids.size());
      set.copy(set.begin_of(d), count, document.ids.data(), unused.data());
      if (tokenizer_)
        document.bytes = static_cast<int64_t>(tokenizer_->decode(document.ids, /*skip_special=*/true).size());
      found_.push_back(std::move(document));
    }
  }

  void source(const SourceFile& file) {
    const auto reader = open_documents(file, {});
    for (RawDocument raw; !full() && reader->next(raw);) {
      const Document text = finish(std::move(raw), {});
      EvalDocument document{text.where, text.ids, static_cast<int64_t>(text.text.size())};
      if (choice_.as_bytes) {
        document.ids = {256};
        for (const char c : text.text) document.ids.push_back(static_cast<unsigned char>(c));
      } else if (text.ids.empty()) {
        if (!tokenizer_) throw Error(Kind::usage, text.where + ": a text needs a tokenizer");
        document.ids = tokenizer_->encode(text.text, text.add_special);
      }
      cut(document, choice_.as_bytes ? nullptr : tokenizer_, choice_.tokens);
      found_.push_back(std::move(document));
    }
  }

  const Tokenizer* tokenizer_;
  const DocumentChoice& choice_;
  std::vector<EvalDocument> found_;
};

}  // namespace

std::vector<EvalDocument> read_documents(const std::vector<std::string>& inputs, const Tokenizer* tokenizer,
                                         const DocumentChoice& choice) {
  Collector collector(tokenizer, choice);
  for (const std::string& input : inputs) collector.read(input);
  std::vector<EvalDocument> all = collector.take();
  all.erase(std::remove_if(all.begin(), all.end(), [](const EvalDocument& d) { return d.ids.size() < 2; }),
            all.end());
  if (all.empty()) throw Error(Kind::input, "no document of two tokens or more to measure on");
  return all;
}

}  // namespace mneme
