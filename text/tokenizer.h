// Text to token ids and back, for every kind of tokenizer file:
//
//   auto tokenizer = load_tokenizer("models/llama");        // a folder or a file
//   std::vector<int32_t> ids = tokenizer->encode("Hello", /*add_special=*/true);
//   std::string text = tokenizer->decode(ids, /*skip_special=*/true);
//
// A Tokenizer is constant and may be used from many threads at once. Input need not be UTF-8: what is
// ill-formed becomes U+FFFD first. Not here: chat templates are rendered by text/chat_template.h; padding and
// truncation settings of a file are not applied.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/piece_decoder.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/subword_model.h"

namespace mneme {

struct SpecialIds {  // -1: the tokenizer has none
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;
};

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;  // may be null
  PreTokenizer pre_tokenizer;
  std::unique_ptr<SubwordModel> model;
  AddedTokens added;
  PostProcessor post_processor;
  DecoderFactory decoder;
  SpecialIds special;
  bool parses_special = true;  // what SpecialText::native means
  bool hides_special = false;  // decoding always leaves special tokens out
  std::string chat_template;   // empty: none
  std::string source;          // the file, for messages
};

class Tokenizer;

// Decodes ids as they come. Its text is always well-formed UTF-8: bytes that may still become a character are
// held back. The pieces of text together equal decode() of all ids, but for runs of byte tokens that are not
// UTF-8 (text/piece_decoder.h). The tokenizer must outlive it.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  std::string push(int32_t id);
  std::string finish();  // what is left; the stream starts afresh

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  DecodeChain chain_;
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerParts parts);

  std::vector<int32_t> encode(std::string_view text, bool add_special,
                              SpecialText special_text = SpecialText::native) const;
  // Unknown ids are left out. With skip_special, so are special tokens.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;
  StreamDecoder stream(bool skip_special) const { return {*this, skip_special}; }

  int32_t vocab_size() const { return vocab_size_; }  // one past the highest id
  std::optional<int32_t> id_of(std::string_view piece) const;
  std::optional<std::string> piece_of(int32_t id) const;
  bool is_special(int32_t id) const;
  const SpecialIds& special() const { return parts_.special; }
  const std::vector<AddedToken>& added_tokens() const { return parts_.added.all(); }
  const std::string& chat_template() const { return parts_.chat_template; }
  const std::string& source() const { return parts_.source; }
  // Equal for tokenizers with the same pieces, ids and special tokens.
  uint64_t fingerprint() const;

 private:
  friend class StreamDecoder;
  void push_piece(DecodeChain& chain, int32_t id, bool skip_special) const;
  void normalize(PieceList& list) const;
  std::unique_ptr<EncodeScratch> borrow_scratch() const;
  void return_scratch(std::unique_ptr<EncodeScratch> scratch) const;

  TokenizerParts parts_;
  int32_t vocab_size_ = 0;
  mutable std::mutex scratch_mutex_;
  mutable std::vector<std::unique_ptr<EncodeScratch>> idle_scratch_;  // their caches outlive a call
};

// A model folder, tokenizer.json, tokenizer.model (SentencePiece, or ranks as tiktoken writes them),
// *.tiktoken, vocab.json or merges.txt (the two of GPT-2), vocab.txt (BERT), dict.txt (fairseq), or a GGUF
// file.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::string& path);

// The parsers behind it; `where` names the bytes in errors. What a folder's other files say (special tokens,
// chat template) is added by load_tokenizer.
class GgufMetadata;
TokenizerParts parse_tokenizer_json(std::string_view bytes, const std::string& where);
TokenizerParts parse_sentencepiece(std::string_view bytes, const std::string& where);
TokenizerParts parse_tiktoken(std::string_view bytes, const std::string& where);
TokenizerParts parse_gpt2_files(std::string_view vocab_json, std::string_view merges_txt,
                                const std::string& where);
TokenizerParts parse_fairseq_files(std::string_view vocab_json, std::string_view merges_txt,
                                   std::string_view dict_txt, const std::string& where);
TokenizerParts parse_bert_vocab(std::string_view vocab_txt, bool lowercase, const std::string& where);
TokenizerParts parse_gguf_tokenizer(const GgufMetadata& metadata, const std::string& where);

}  // namespace mneme
