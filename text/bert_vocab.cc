#include "text/bert_vocab.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace mneme {

using nlohmann::json;

TokenizerParts make_bert_tokenizer(Vocabulary vocab, bool lowercase, int64_t longest_word,
                                   const std::string& where) {
  TokenizerParts out;
  out.source = where;
  const json normalizer = {{"type", "BertNormalizer"}, {"lowercase", lowercase}};
  out.normalizer = make_normalizer(normalizer, where);
  out.pre_tokenizer = make_pre_tokenizer({{"type", "BertPreTokenizer"}}, false, where);
  const int32_t cls = vocab.find("[CLS]"), sep = vocab.find("[SEP]"), unk = vocab.find("[UNK]");
  if (cls < 0 || sep < 0 || unk < 0) {
    throw Error(Kind::input, where + ": a BERT vocabulary without [CLS], [SEP] or [UNK]");
  }
  std::vector<AddedToken> added;
  for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    AddedToken t;
    t.id = vocab.find(name);
    t.content = name;
    t.special = true;
    if (t.id >= 0) added.push_back(std::move(t));
  }
  out.special = {cls, sep, vocab.find("[PAD]"), unk};
  out.added = AddedTokens(std::move(added), out.normalizer.get());
  out.post_processor = surround({cls}, {sep});
  out.decoder = make_decoder({{"type", "WordPiece"}}, where);
  WordPieceOptions o;
  o.unk = unk;
  o.longest_word = longest_word;
  out.model = std::make_unique<WordPiece>(std::move(vocab), std::move(o));
  return out;
}

TokenizerParts parse_bert_vocab(std::string_view text, bool lowercase, const std::string& where) {
  Vocabulary vocab;
  int32_t id = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!is_utf8(line)) throw Error(Kind::input, where + ", line " + std::to_string(id + 1) + ": not UTF-8");
    vocab.add(id++, line);
  }
  return make_bert_tokenizer(std::move(vocab), lowercase, 100, where);
}

}  // namespace mneme
