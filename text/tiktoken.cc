// Rank files of tiktoken: a line for each piece, base64 and rank. The pattern and the special tokens are not
// in the file; they are known by the number of ranks.
#include "text/tiktoken.h"

#include <charconv>
#include <utility>

#include "base/error.h"
#include "text/bpe.h"
#include "text/byte_glyphs.h"
#include "text/piece_splits.h"
#include "text/split_scanner.h"

namespace mneme {
namespace {

std::vector<std::pair<std::string, int32_t>> llama3_special() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; names.size() < 256; ++i) {
    names.push_back("<|reserved_special_token_" + std::to_string(i) + "|>");
  }
  std::vector<std::pair<std::string, int32_t>> out;
  int32_t id = 128000;
  for (std::string& name : names) out.emplace_back(std::move(name), id++);
  return out;
}

using Ranks = std::vector<std::pair<std::string, int32_t>>;

Ranks read_ranks(std::string_view text, const std::string& where) {
  Ranks out;
  size_t number = 0;
  const auto fail = [&](const char* what) {
    throw Error(Kind::input, where + ", line " + std::to_string(number) + ": " + what,
                "a rank file has base64, a space and a rank on each line");
  };
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string piece;
    int32_t rank = -1;
    if (space == std::string_view::npos) fail("no rank");
    if (!decode_base64(line.substr(0, space), piece) || piece.empty()) fail("no base64");
    const char* last = line.data() + line.size();
    const auto [stop, error] = std::from_chars(line.data() + space + 1, last, rank);
    if (error != std::errc() || stop != last || rank < 0) fail("no rank after the space");
    if (rank >= Vocabulary::kMostIds) fail("a rank that is too large");
    out.emplace_back(std::move(piece), rank);
  }
  return out;
}

}  // namespace

TiktokenEncoding tiktoken_encoding(size_t ranks, const std::string& where) {
  const std::string end = "<|endoftext|>";
  switch (ranks) {
    case 50256:  // r50k_base
    case 50280:  // p50k_base, which leaves the id 50256 out
      return {kGpt2Pattern, {{end, 50256}}, end, end};
    case 100256:  // cl100k_base
      return {kCl100kPattern,
              {{end, 100257},
               {"<|fim_prefix|>", 100258},
               {"<|fim_middle|>", 100259},
               {"<|fim_suffix|>", 100260},
               {"<|endofprompt|>", 100276}},
              end,
              end};
    case 128000:  // Llama 3
      return {kCl100kPattern, llama3_special(), "<|begin_of_text|>", "<|end_of_text|>", true, true};
    case 151643:  // Qwen
      return {kQwen2Pattern, {{end, 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}},
              end,           end,
              false,         true};
    case 199998:  // o200k_base
      return {kO200kPattern, {{end, 199999}, {"<|endofprompt|>", 200018}}, end, end};
    default:
      throw Error(Kind::input, where + ": " + std::to_string(ranks) + " ranks belong to no known encoding",
                  "a rank file does not say how to split text; use the model's tokenizer.json");
  }
}

namespace {

TokenizerParts make_tiktoken(const Ranks& ranks, const TiktokenEncoding& encoding, const std::string& where) {
  Vocabulary vocab;
  vocab.reserve(ranks.size(), ranks.size() * 12);
  PieceIds pieces;
  for (const auto& [piece, rank] : ranks) {
    const std::string glyphs = bytes_to_glyphs(piece);
    if (vocab.contains(rank) || vocab.find(glyphs) >= 0) {
      throw Error(Kind::input, where + ": the rank " + std::to_string(rank) + " or its piece stands twice");
    }
    vocab.add(rank, glyphs);
    pieces.emplace_back(piece, rank);
  }
  MergeTable merges;
  merges.reserve(pieces.size() * 3);
  for_each_split(pieces, pieces, [&](int32_t left, int32_t right, int32_t whole) {
    merges.add(left, right, {static_cast<uint32_t>(whole), whole});
  });
  BpeOptions o;
  o.bytes = o.whole_pieces = true;
  TokenizerParts out;
  out.source = where;
  out.pre_tokenizer.steps.push_back(make_split_step(encoding.pattern, SplitBehavior::isolated, false, where));
  out.pre_tokenizer.bytes = true;
  out.model = std::make_unique<Bpe>(std::move(vocab), std::move(merges), std::move(o));
  std::vector<AddedToken> added;
  for (const auto& [name, id] : encoding.special) {
    AddedToken t;
    t.id = id;
    t.content = name;
    t.special = true;
    if (name == encoding.bos) out.special.bos = id;
    if (name == encoding.eos) out.special.eos = id;
    added.push_back(std::move(t));
  }
  out.added = AddedTokens(std::move(added), nullptr);
  out.parses_special = encoding.parses_special;
  if (encoding.adds_bos) out.post_processor = surround({out.special.bos}, {});
  out.decoder = make_byte_level_decoder();
  return out;
}

}  // namespace

TokenizerParts parse_tiktoken(std::string_view bytes, const TiktokenEncoding& encoding,
                              const std::string& where) {
  return make_tiktoken(read_ranks(bytes, where), encoding, where);
}

TokenizerParts parse_tiktoken(std::string_view bytes, const std::string& where) {
  const Ranks ranks = read_ranks(bytes, where);
  return make_tiktoken(ranks, tiktoken_encoding(ranks.size(), where), where);
}

}  // namespace mneme
