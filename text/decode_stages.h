// The stages of text/piece_decoder.h. Internal.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/piece_decoder.h"
#include "text/replacement.h"
#include "text/utf8.h"

namespace mneme::decode {

// Chunks of a token -> whole tokens, for stages that must see them whole.
class Gather final : public DecodeStage {
 public:
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  std::string held_;
  bool holds_ = false;
};

// Without a decoder: tokens joined by spaces.
class Spaces final : public DecodeStage {
 public:
  void push(const DecodedChunk& chunk) override;

 private:
  bool any_ = false;
};

class ByteLevel final : public DecodeStage {
 public:
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  Utf8Stream utf8_;
  bool started_ = false;
};

class ByteFallback final : public DecodeStage {
 public:
  explicit ByteFallback(DecodeMode mode) : mode_(mode) {}
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  void emit_settled(bool all);
  DecodeMode mode_;
  std::string bytes_;
  bool in_run_ = false;
};

class Fuse final : public DecodeStage {
 public:
  void push(const DecodedChunk& chunk) override;

 private:
  bool started_ = false;
};

class Strip final : public DecodeStage {
 public:
  Strip(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  void pass(std::string_view text);
  void end_token();
  std::string content_;
  int64_t start_, stop_;
  int64_t to_cut_ = 0;    // leading ones still to cut from this token
  int64_t trailing_ = 0;  // `content` seen at its end and held back
  bool starts_ = false, open_ = false;
};

// A Replace on whole tokens.
class Replace final : public DecodeStage {
 public:
  explicit Replace(std::shared_ptr<const Replacement> replacement) : replacement_(std::move(replacement)) {}
  void push(const DecodedChunk& chunk) override;

 private:
  std::shared_ptr<const Replacement> replacement_;
};

// A Replace of a string on chunks: holds back what may be the beginning of a match.
class ReplaceAcross final : public DecodeStage {
 public:
  explicit ReplaceAcross(std::shared_ptr<const Replacement> replacement)
      : replacement_(std::move(replacement)) {}
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  std::shared_ptr<const Replacement> replacement_;
  std::string held_;
  bool starts_ = false;
};

class Metaspace final : public DecodeStage {
 public:
  Metaspace(std::string mark, bool drops_first) : mark_(std::move(mark)), drops_first_(drops_first) {}
  void push(const DecodedChunk& chunk) override;

 private:
  std::string mark_;
  bool drops_first_, first_ = true;
};

class WordPiece final : public DecodeStage {
 public:
  WordPiece(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void push(const DecodedChunk& chunk) override;

 private:
  std::string prefix_;
  bool cleanup_, first_ = true;
};

// The suffix of a word's last token is a space, but nothing at the end of the text.
class WordSuffix final : public DecodeStage {
 public:
  explicit WordSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  void emit(const std::string& gap);
  std::string suffix_, held_;
  bool holds_ = false;
};

class Ctc final : public DecodeStage {
 public:
  Ctc(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void push(const DecodedChunk& chunk) override;

 private:
  std::string pad_, delimiter_, last_;
  bool cleanup_, any_ = false;
};

class Spm final : public DecodeStage {
 public:
  explicit Spm(std::shared_ptr<const SpmDecoderOptions> options) : options_(std::move(options)) {}
  void push(const DecodedChunk& chunk) override;
  void flush() override;

 private:
  void emit_bytes(bool all);
  void show(std::string_view text);
  std::shared_ptr<const SpmDecoderOptions> options_;
  std::string bytes_;
  bool at_front_ = true, front_space_seen_ = false, any_text_ = false;
};

std::string tidy_spaces(std::string text);  // "clean up" of English punctuation

}  // namespace mneme::decode
