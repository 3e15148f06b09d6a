// Ids back to text: a chain of stages, each of which gets tokens and hands on tokens. A stage may pass a
// token in chunks, so that a stream can show text as early as it is settled; the same chain decodes whole
// lists.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct DecodedChunk {
  std::string_view text;
  bool starts = true;  // a token begins; false continues the one before
  int32_t id = -1;     // of the token where it is still a single one
};

class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void push(const DecodedChunk& chunk) = 0;
  virtual void flush() {}  // hands on what is held back, at the end of the text

  void set_next(DecodeStage* next) { next_ = next; }
  void finish() {
    flush();
    if (next_) next_->finish();
  }

 protected:
  void hand_on(std::string_view text, bool starts, int32_t id = -1) { next_->push({text, starts, id}); }

 private:
  DecodeStage* next_ = nullptr;
};

// The state of one decoding.
class DecodeChain {
 public:
  explicit DecodeChain(std::vector<std::unique_ptr<DecodeStage>> stages);
  DecodeChain(DecodeChain&&) noexcept;
  DecodeChain& operator=(DecodeChain&&) noexcept;
  ~DecodeChain();
  void push(std::string_view piece, int32_t id) { first_->push({piece, true, id}); }
  void finish() { first_->finish(); }
  std::string take();  // the text since the last call

 private:
  class Output;
  std::vector<std::unique_ptr<DecodeStage>> stages_;
  std::unique_ptr<Output> output_;
  DecodeStage* first_;
};

// What a tokenizer keeps: how to make a chain. In a stream, a run of byte tokens (<0xE2>...) is shown as soon
// as it makes characters and each stray byte is one U+FFFD; over a whole list the reference turns every byte
// of a run that is not UTF-8 into U+FFFD. The two agree on all runs that are UTF-8.
enum class DecodeMode { whole, stream };
using DecoderFactory = std::function<DecodeChain(DecodeMode)>;

// From the JSON object of tokenizer.json; null joins the tokens with spaces. An unknown type is an Error.
DecoderFactory make_decoder(const nlohmann::json& config, const std::string& where);
DecoderFactory make_byte_level_decoder();

// SentencePiece's own decoding.
struct SpmDecoderOptions {
  std::vector<bool> hidden;   // by id: control pieces
  std::vector<int16_t> byte;  // by id: the byte, or -1
  int32_t unk = -1;
  std::string unk_surface = " \xE2\x81\x87 ";
  bool strips_first_space = true;  // the dummy prefix
  bool strips_all_leading = false;
};
DecoderFactory make_spm_decoder(SpmDecoderOptions options);

}  // namespace mneme
