// What a SentencePiece vocabulary says, wherever it was stored (tokenizer.model, GGUF), and the parts of a
// tokenizer made from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/spm_normalizer.h"
#include "text/tokenizer.h"

namespace mneme {

enum class SpmPieceType : uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};
enum class SpmModelType : uint8_t { unigram = 1, bpe = 2, word = 3, character = 4 };

struct SpmModel {
  struct Piece {
    std::string text;
    float score = 0;
    SpmPieceType type = SpmPieceType::normal;
  };
  std::vector<Piece> pieces;
  SpmModelType type = SpmModelType::unigram;
  bool byte_fallback = false;
  int32_t unk = 0, bos = 1, eos = 2, pad = -1;
  std::string unk_surface = " \xE2\x81\x87 ";
  std::string charsmap;
  SpmNormalizerOptions normalizer;   // charsmap and user_defined are filled from the above
  bool shows_control = false;        // decoding writes control pieces, as transformers does
  bool parses_control = false;       // text may name them
  bool controls_take_space = false;  // and swallow the white space after them
  bool add_bos = false, add_eos = false;
};

// tokenizer.model: a protocol buffer.
SpmModel read_sentencepiece(std::string_view bytes, const std::string& where);
TokenizerParts make_spm_tokenizer(SpmModel model, const std::string& where);

}  // namespace mneme
