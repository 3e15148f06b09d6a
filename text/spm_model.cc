#include "text/spm_model.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/bpe.h"
#include "text/piece_splits.h"
#include "text/unigram.h"
#include "text/utf8.h"

namespace mneme {
namespace {

bool in_text(SpmPieceType type) {
  return type == SpmPieceType::normal || type == SpmPieceType::user_defined || type == SpmPieceType::unused;
}

Vocabulary make_vocabulary(const SpmModel& m) {
  Vocabulary out;
  out.reserve(m.pieces.size(), m.pieces.size() * 8);
  for (size_t i = 0; i < m.pieces.size(); ++i) out.add(static_cast<int32_t>(i), m.pieces[i].text);
  return out;
}

// Any two neighbours merge whose text together is a piece; the higher its score, the earlier. So each piece
// yields a merge for every way to halve it, all of one rank.
std::unique_ptr<SubwordModel> make_bpe(const SpmModel& m) {
  std::vector<std::pair<std::string_view, int32_t>> symbols;
  std::map<float, uint32_t, std::greater<>> ranks;
  BpeOptions o;
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    const SpmModel::Piece& p = m.pieces[i];
    if (!in_text(p.type) || p.text.empty()) continue;
    symbols.emplace_back(p.text, static_cast<int32_t>(i));
    ranks[p.score] = 0;
    if (p.type == SpmPieceType::unused) o.unused.push_back(static_cast<int32_t>(i));
  }
  uint32_t rank = 0;
  for (auto& entry : ranks) entry.second = rank++;
  const std::vector<std::pair<std::string, int32_t>> loose =
      loose_characters(symbols, static_cast<int32_t>(m.pieces.size()));
  std::vector<std::pair<std::string_view, int32_t>> halves = symbols;
  for (const auto& [text, id] : loose) halves.emplace_back(text, id);
  MergeTable merges;
  if (m.type == SpmModelType::bpe) {
    merges.reserve(m.pieces.size() * 2);
    for_each_split(halves, symbols, [&](int32_t left, int32_t right, int32_t whole) {
      merges.add(left, right, {ranks[m.pieces[whole].score], whole});
    });
  }
  o.late_unknown = o.fuse_unk = true;
  o.byte_fallback = m.byte_fallback;
  o.unk = m.unk;
  return std::make_unique<Bpe>(make_vocabulary(m), std::move(merges), std::move(o), loose);
}

std::unique_ptr<SubwordModel> make_unigram(const SpmModel& m, const std::string& where) {
  UnigramOptions o;
  o.flavor = UnigramFlavor::sentencepiece;
  o.unk = m.unk;
  o.byte_fallback = m.byte_fallback;
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    const SpmModel::Piece& p = m.pieces[i];
    const auto id = static_cast<int32_t>(i);
    o.scores.push_back(p.score);
    if (p.type == SpmPieceType::normal || p.type == SpmPieceType::user_defined) o.matched.push_back(id);
    if (p.type == SpmPieceType::normal) o.normal.push_back(id);
    if (p.type == SpmPieceType::user_defined) o.user_defined.push_back(id);
  }
  return std::make_unique<Unigram>(make_vocabulary(m), std::move(o), where);
}

int16_t byte_of(const SpmModel::Piece& p, const std::string& where) {
  if (p.type != SpmPieceType::byte) return -1;
  unsigned value = 0;
  char tail = 0;
  if (p.text.size() != 6 || std::sscanf(p.text.c_str(), "<0x%2X%c", &value, &tail) != 2 || tail != '>') {
    throw Error(Kind::input, where + ": a byte piece named '" + p.text + "'");
  }
  return static_cast<int16_t>(value);
}

// Pieces that text may name. User-defined ones keep their place in the normalised text, where they are found
// before the model sees it; control pieces are found in the text as it is.
AddedTokens make_added(const SpmModel& m, const Normalizer* normalizer) {
  std::vector<AddedToken> out;
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    const SpmModel::Piece& p = m.pieces[i];
    AddedToken t;
    t.id = static_cast<int32_t>(i);
    t.content = p.text;
    t.special = p.type == SpmPieceType::control || (p.type == SpmPieceType::unknown && m.parses_control);
    const bool plain = t.content == "<unk>" || t.content == "<s>" || t.content == "<|endoftext|>";
    t.rstrip = m.controls_take_space && !plain;
    if (t.special || (p.type == SpmPieceType::user_defined && m.parses_control)) out.push_back(std::move(t));
  }
  return {std::move(out), normalizer};
}

// Cuts the normalised text at user-defined pieces, which never merge.
class UserDefinedStep final : public PreTokenizerStep {
 public:
  explicit UserDefinedStep(const SpmModel& m) {
    for (size_t i = 0; i < m.pieces.size(); ++i) {
      if (m.pieces[i].type != SpmPieceType::user_defined || m.pieces[i].text.empty()) continue;
      pieces_.emplace_back(m.pieces[i].text, static_cast<int32_t>(i));
    }
    std::vector<std::pair<std::string_view, int32_t>> keys(pieces_.begin(), pieces_.end());
    trie_ = Trie(std::move(keys));
  }
  bool empty() const { return pieces_.empty(); }
  void apply(PieceList& list) const override {
    std::vector<TextPiece> out;
    for (const TextPiece& p : list.pieces) {
      if (p.id >= 0) {
        out.push_back(p);
        continue;
      }
      const std::string_view text = list.view(p);
      uint32_t done = 0;
      for (uint32_t i = 0; i < text.size();) {
        const Trie::Match match = trie_.longest_prefix(text.substr(i));
        if (match.size == 0) {
          i += rune_size(text[i]);
          continue;
        }
        if (done < i) out.push_back({p.begin + done, p.begin + i, -1, false});
        done = i + static_cast<uint32_t>(match.size);
        out.push_back({p.begin + i, p.begin + done, match.value, false});
        i = done;
      }
      if (done < text.size()) out.push_back({p.begin + done, p.end, -1, false});
    }
    list.pieces = std::move(out);
  }

 private:
  std::vector<std::pair<std::string, int32_t>> pieces_;
  Trie trie_;
};

DecoderFactory make_spm_pieces_decoder(const SpmModel& m, const std::string& where) {
  SpmDecoderOptions o;
  for (const SpmModel::Piece& p : m.pieces) {
    o.hidden.push_back(p.type == SpmPieceType::control && !m.shows_control);
    o.byte.push_back(byte_of(p, where));
  }
  o.unk = m.shows_control ? -1 : m.unk;
  o.unk_surface = m.unk_surface;
  o.strips_first_space = m.normalizer.add_dummy_prefix || m.normalizer.remove_extra_spaces;
  o.strips_all_leading = m.normalizer.remove_extra_spaces;
  return make_spm_decoder(std::move(o));
}

void check_ids(const SpmModel& m, const std::string& where) {
  const auto size = static_cast<int32_t>(m.pieces.size());
  if (size == 0) throw Error(Kind::input, where + ": a SentencePiece model without pieces");
  if (m.unk < 0 || m.unk >= size) {
    throw Error(Kind::input, where + ": the unknown piece has id " + std::to_string(m.unk) + " of " +
                                 std::to_string(size));
  }
  if (m.bos >= size || m.eos >= size || m.pad >= size) {
    throw Error(Kind::input, where + ": a special id outside of the vocabulary");
  }
  if (m.type == SpmModelType::word) {
    throw Error(Kind::input, where + ": SentencePiece models of type 'word' are not supported");
  }
}

}  // namespace

TokenizerParts make_spm_tokenizer(SpmModel m, const std::string& where) {
  check_ids(m, where);
  for (const SpmModel::Piece& p : m.pieces) {
    if (!is_utf8(p.text)) throw Error(Kind::input, where + ": a piece that is not UTF-8");
    if (p.type == SpmPieceType::user_defined) m.normalizer.user_defined.push_back(p.text);
  }
  m.normalizer.charsmap = Charsmap(m.charsmap, where);
  TokenizerParts out;
  out.source = where;
  out.special = {m.bos < 0 ? -1 : m.bos, m.eos < 0 ? -1 : m.eos, m.pad < 0 ? -1 : m.pad, m.unk};
  out.model = m.type == SpmModelType::unigram ? make_unigram(m, where) : make_bpe(m);
  out.decoder = make_spm_pieces_decoder(m, where);
  if (m.type != SpmModelType::unigram) {
    auto user_defined = std::make_unique<UserDefinedStep>(m);
    if (!user_defined->empty()) out.pre_tokenizer.steps.push_back(std::move(user_defined));
  }
  out.normalizer = std::make_unique<SpmNormalizer>(m.normalizer);
  out.added = make_added(m, out.normalizer.get());
  out.parses_special = m.parses_control;
  std::vector<int32_t> before, after;
  if (m.add_bos && m.bos >= 0) before.push_back(m.bos);
  if (m.add_eos && m.eos >= 0) after.push_back(m.eos);
  out.post_processor = surround(before, after);
  return out;
}

}  // namespace mneme
