// Pre-tokenizers of tokenizer.json: they cut a text into the pieces that the model encodes one by one, and
// may rewrite it on the way. A pre-tokenizer is a flat list of steps over one buffer and spans in it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace mneme {

struct TextPiece {
  uint32_t begin = 0, end = 0;
  int32_t id = -1;        // an added token; the model does not see it
  bool at_start = false;  // the text's first original character stands at its front
};

// Spans of `text`, which is `owned` or a buffer of the caller's.
struct PieceList {
  PieceList() = default;
  PieceList(const PieceList&) = delete;  // `text` may point into `owned`
  PieceList& operator=(const PieceList&) = delete;
  std::string_view text;
  std::string owned;
  std::vector<TextPiece> pieces;

  std::string_view view(const TextPiece& p) const { return text.substr(p.begin, p.end - p.begin); }
  void own(std::string bytes) {
    owned = std::move(bytes);
    text = owned;
  }
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void apply(PieceList& list) const = 0;
};

struct PreTokenizer {
  std::vector<std::unique_ptr<PreTokenizerStep>> steps;
  // The last step would have turned bytes into glyphs, and was left out because the model reads bytes.
  bool bytes = false;

  void apply(PieceList& list) const {
    for (const auto& step : steps) step->apply(list);
  }
};

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// From the JSON object of the file; null gives no steps. An unknown type is an Error that names it.
PreTokenizer make_pre_tokenizer(const nlohmann::json& config, bool model_reads_bytes,
                                const std::string& where);

// One step for a pattern in Oniguruma's syntax, by a scanner where there is one.
std::unique_ptr<PreTokenizerStep> make_split_step(std::string_view pattern, SplitBehavior behavior,
                                                  bool invert, const std::string& where);

}  // namespace mneme
