#include "text/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "text/byte_glyphs.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/split_scanner.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace mneme {
namespace {

using nlohmann::json;

// Replaces each piece by those that `cut(text, emit)` emits, as offsets into the piece. Empty ones vanish.
template <class Cut>
void split_pieces(PieceList& list, Cut cut) {
  std::vector<TextPiece> out;
  out.reserve(list.pieces.size() + list.text.size() / 4);
  for (const TextPiece& p : list.pieces) {
    if (p.id >= 0) {
      out.push_back(p);
      continue;
    }
    cut(list.view(p), [&](size_t begin, size_t end) {
      if (begin == end) return;
      out.push_back({p.begin + static_cast<uint32_t>(begin), p.begin + static_cast<uint32_t>(end), -1,
                     p.at_start && begin == 0});
    });
  }
  list.pieces = std::move(out);
}

// Rewrites each piece: `rewrite(piece, text, out)` appends the new text.
template <class Rewrite>
void rewrite_pieces(PieceList& list, Rewrite rewrite) {
  std::string out;
  out.reserve(list.text.size() + list.text.size() / 4);
  for (TextPiece& p : list.pieces) {
    const size_t begin = out.size();
    if (p.id < 0) rewrite(p, list.view(p), out);
    if (out.size() > UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
    p.begin = static_cast<uint32_t>(begin);
    p.end = static_cast<uint32_t>(out.size());
  }
  list.own(std::move(out));
}

struct Span {
  size_t begin, end;
  bool match;
};

// Merges neighbours as the behaviour says; `spans` cover the text.
template <class Emit>
void emit_spans(std::vector<Span>& spans, SplitBehavior behavior, Emit emit) {
  std::vector<Span> merged;
  bool previous = false;
  const auto add = [&](const Span& s, bool join) {
    if (join && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, s.begin);
      merged.back().end = std::max(merged.back().end, s.end);
    } else {
      merged.push_back(s);
    }
    previous = s.match;
  };
  switch (behavior) {
    case SplitBehavior::removed:
      for (const Span& s : spans) {
        if (!s.match) emit(s.begin, s.end);
      }
      return;
    case SplitBehavior::isolated:
      for (const Span& s : spans) emit(s.begin, s.end);
      return;
    case SplitBehavior::contiguous:
      for (const Span& s : spans) add(s, s.match == previous);
      break;
    case SplitBehavior::merged_with_previous:
      for (const Span& s : spans) add(s, s.match && !previous);
      break;
    case SplitBehavior::merged_with_next:
      for (size_t i = spans.size(); i-- > 0;) add(spans[i], spans[i].match && !previous);
      for (size_t i = merged.size(); i-- > 0;) emit(merged[i].begin, merged[i].end);
      return;
  }
  for (const Span& s : merged) emit(s.begin, s.end);
}

class RegexSplit final : public PreTokenizerStep {
 public:
  RegexSplit(TextRegex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  void apply(PieceList& list) const override {
    std::vector<Span> spans;
    split_pieces(list, [&](std::string_view text, auto emit) {
      spans.clear();
      TextRegex::Iterator matches(regex_, text);
      TextRegex::Match m;
      size_t at = 0;
      while (matches.next(m)) {
        if (m.begin < at) continue;
        if (m.begin != at) spans.push_back({at, m.begin, invert_});
        spans.push_back({m.begin, m.end, !invert_});
        at = m.end;
      }
      if (at != text.size()) spans.push_back({at, text.size(), invert_});
      emit_spans(spans, behavior_, emit);
    });
  }

 private:
  TextRegex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

class ScannerSplit final : public PreTokenizerStep {
 public:
  explicit ScannerSplit(SplitScanner scan) : scan_(scan) {}
  void apply(PieceList& list) const override {
    split_pieces(list, [this](std::string_view text, auto emit) {
      const char *start = text.data(), *end = start + text.size();
      for (const char* p = start; p < end;) {
        const char* next = scan_(p, end);
        emit(static_cast<size_t>(p - start), static_cast<size_t>(next - start));
        p = next;
      }
    });
  }

 private:
  SplitScanner scan_;
};

// Every character of which `is_match` holds is a match of its own.
template <class IsMatch>
class CharSplit final : public PreTokenizerStep {
 public:
  CharSplit(IsMatch is_match, SplitBehavior behavior) : is_match_(is_match), behavior_(behavior) {}
  void apply(PieceList& list) const override {
    std::vector<Span> spans;
    split_pieces(list, [&](std::string_view text, auto emit) {
      spans.clear();
      size_t at = 0, i = 0;
      while (i < text.size()) {
        const Rune r = decode_valid_rune(text.data() + i);
        if (is_match_(r.code)) {
          if (at < i) spans.push_back({at, i, false});
          spans.push_back({i, i + r.size, true});
          at = i + r.size;
        }
        i += r.size;
      }
      if (at < i) spans.push_back({at, i, false});
      emit_spans(spans, behavior_, emit);
    });
  }

 private:
  IsMatch is_match_;
  SplitBehavior behavior_;
};

template <class IsMatch>
std::unique_ptr<PreTokenizerStep> char_split(IsMatch is_match, SplitBehavior behavior) {
  return std::make_unique<CharSplit<IsMatch>>(is_match, behavior);
}

// \w+|[^\w\s]+ with what lies between removed.
class WordSplit final : public PreTokenizerStep {
 public:
  void apply(PieceList& list) const override {
    split_pieces(list, [](std::string_view text, auto emit) {
      enum class Run { none, word, symbol };
      const auto run_of = [](char32_t c) {
        return is_word_char(c) ? Run::word : is_white_space(c) ? Run::none : Run::symbol;
      };
      size_t begin = 0;
      Run run = Run::none;
      for (size_t i = 0; i < text.size();) {
        const Rune r = decode_valid_rune(text.data() + i);
        const Run next = run_of(r.code);
        if (next != run) {
          if (run != Run::none) emit(begin, i);
          begin = i;
          run = next;
        }
        i += r.size;
      }
      if (run != Run::none) emit(begin, text.size());
    });
  }
};

class FixedLength final : public PreTokenizerStep {
 public:
  explicit FixedLength(int64_t length) : length_(length) {}
  void apply(PieceList& list) const override {
    split_pieces(list, [this](std::string_view text, auto emit) {
      size_t begin = 0, i = 0;
      for (int64_t n = 0; i < text.size();) {
        i += rune_size(text[i]);
        if (++n < length_) continue;
        emit(begin, i);
        begin = i;
        n = 0;
      }
      emit(begin, text.size());
    });
  }

 private:
  int64_t length_;
};

class LeadingSpace final : public PreTokenizerStep {
 public:
  void apply(PieceList& list) const override {
    rewrite_pieces(list, [](const TextPiece&, std::string_view text, std::string& out) {
      if (!text.starts_with(' ')) out += ' ';
      out += text;
    });
  }
};

class Glyphs final : public PreTokenizerStep {
 public:
  void apply(PieceList& list) const override {
    rewrite_pieces(list, [](const TextPiece&, std::string_view text, std::string& out) {
      for (const char c : text) out += glyph_of_byte(static_cast<unsigned char>(c));
    });
  }
};

enum class PrependScheme { always, first, never };

class Metaspace final : public PreTokenizerStep {
 public:
  Metaspace(char32_t mark, PrependScheme scheme, bool split) : scheme_(scheme), split_(split) {
    append_utf8(mark_, mark);
  }
  void apply(PieceList& list) const override {
    rewrite_pieces(list, [this](const TextPiece& p, std::string_view text, std::string& out) {
      const bool wanted = scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && p.at_start);
      if (wanted && !text.starts_with(' ') && !text.starts_with(mark_)) out += mark_;
      for (size_t space; (space = text.find(' ')) != std::string_view::npos;) {
        out.append(text, 0, space).append(mark_);
        text.remove_prefix(space + 1);
      }
      out += text;
    });
    if (!split_) return;
    split_pieces(list, [this](std::string_view text, auto emit) {
      size_t begin = 0;
      for (size_t at = text.find(mark_); at != std::string_view::npos;
           at = text.find(mark_, at + mark_.size())) {
        emit(begin, at);
        begin = at;
      }
      emit(begin, text.size());
    });
  }

 private:
  std::string mark_;
  PrependScheme scheme_;
  bool split_;
};

SplitBehavior read_behavior(const json& config, const char* missing, const std::string& where) {
  const std::string name = field_text(config, "behavior", missing, where);
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  throw Error(Kind::input, where + ": the split behavior '" + name + "' is not known");
}

std::unique_ptr<PreTokenizerStep> make_split(const json& config, const std::string& where) {
  const SplitBehavior behavior = read_behavior(config, "", where);
  const bool invert = field_bool(config, "invert", false, where);
  const json& pattern = member(config, "pattern");
  if (const json& regex = member(pattern, "Regex"); regex.is_string()) {
    return make_split_step(regex.get<std::string>(), behavior, invert, where);
  }
  const std::string text =
      pattern.is_string() ? pattern.get<std::string>() : required_text(pattern, "String", where);
  if (text.empty()) throw Error(Kind::input, where + ": a Split pre-tokenizer with an empty pattern");
  return std::make_unique<RegexSplit>(TextRegex::literal(text, where), behavior, invert);
}

std::unique_ptr<PreTokenizerStep> make_metaspace(const json& config, const std::string& where) {
  const std::string name = field_text(config, "prepend_scheme", "", where);
  auto scheme = PrependScheme::always;
  if (name == "first") {
    scheme = PrependScheme::first;
  } else if (name == "never") {
    scheme = PrependScheme::never;
  } else if (!name.empty() && name != "always") {
    throw Error(Kind::input, where + ": the Metaspace prepend_scheme '" + name + "' is not known");
  }
  if (!field_bool(config, "add_prefix_space", true, where)) scheme = PrependScheme::never;
  return std::make_unique<Metaspace>(field_char(config, "replacement", 0x2581, where), scheme,
                                     field_bool(config, "split", true, where));
}

void add_bert(std::vector<std::unique_ptr<PreTokenizerStep>>& out) {
  out.push_back(char_split([](char32_t c) { return is_white_space(c); }, SplitBehavior::removed));
  out.push_back(char_split([](char32_t c) { return is_punctuation(c); }, SplitBehavior::isolated));
}

void add_steps(const json& config, int depth, const std::string& where,
               std::vector<std::unique_ptr<PreTokenizerStep>>& out) {
  if (depth > 20) throw Error(Kind::input, where + ": pre-tokenizers nested more than 20 deep");
  const std::string type = required_text(config, "type", where);
  if (type == "Sequence") {
    for (const json& part : required_list(config, "pretokenizers", where)) {
      add_steps(part, depth + 1, where, out);
    }
  } else if (type == "ByteLevel") {
    if (field_bool(config, "add_prefix_space", true, where)) out.push_back(std::make_unique<LeadingSpace>());
    if (field_bool(config, "use_regex", true, where)) {
      out.push_back(std::make_unique<ScannerSplit>(scan_gpt2));
    }
    out.push_back(std::make_unique<Glyphs>());
  } else if (type == "Split") {
    out.push_back(make_split(config, where));
  } else if (type == "Metaspace") {
    out.push_back(make_metaspace(config, where));
  } else if (type == "Whitespace") {
    out.push_back(std::make_unique<WordSplit>());
  } else if (type == "WhitespaceSplit") {
    out.push_back(char_split([](char32_t c) { return is_white_space(c); }, SplitBehavior::removed));
  } else if (type == "Digits") {
    const bool single = field_bool(config, "individual_digits", false, where);
    out.push_back(char_split([](char32_t c) { return char_kind(c) == CharKind::number; },
                             single ? SplitBehavior::isolated : SplitBehavior::contiguous));
  } else if (type == "Punctuation") {
    out.push_back(
        char_split([](char32_t c) { return is_punctuation(c); }, read_behavior(config, "Isolated", where)));
  } else if (type == "CharDelimiterSplit") {
    const char32_t delimiter = field_char(config, "delimiter", ' ', where);
    out.push_back(char_split([delimiter](char32_t c) { return c == delimiter; }, SplitBehavior::removed));
  } else if (type == "FixedLength") {
    const int64_t length = field_int(config, "length", 5, where);
    if (length < 1) throw Error(Kind::input, where + ": FixedLength with a length below 1");
    out.push_back(std::make_unique<FixedLength>(length));
  } else if (type == "BertPreTokenizer") {
    add_bert(out);
  } else {
    throw Error(Kind::input, where + ": the pre-tokenizer '" + type + "' is not known");
  }
}

}  // namespace

std::unique_ptr<PreTokenizerStep> make_split_step(std::string_view pattern, SplitBehavior behavior,
                                                  bool invert, const std::string& where) {
  // A scanner's pattern covers every byte: isolating the matches and removing what lies between are the same.
  const bool keeps_matches =
      behavior == SplitBehavior::isolated || (behavior == SplitBehavior::removed && invert);
  const SplitScanner scanner = keeps_matches ? find_split_scanner(pattern) : nullptr;
  if (scanner) return std::make_unique<ScannerSplit>(scanner);
  return std::make_unique<RegexSplit>(TextRegex(pattern, where), behavior, invert);
}

PreTokenizer make_pre_tokenizer(const json& config, bool model_reads_bytes, const std::string& where) {
  PreTokenizer out;
  if (config.is_null()) return out;
  add_steps(config, 0, where, out.steps);
  if (model_reads_bytes && !out.steps.empty() && dynamic_cast<const Glyphs*>(out.steps.back().get())) {
    out.steps.pop_back();
    out.bytes = true;
  }
  return out;
}

}  // namespace mneme
