// tokenizer.json of Hugging Face's tokenizers library.
#include <algorithm>
#include <map>
#include <utility>

#include "text/bpe.h"
#include "text/byte_glyphs.h"
#include "text/json_cursor.h"
#include "text/json_fields.h"
#include "text/special_names.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/utf8.h"
#include "text/wordpiece.h"

namespace mneme {
namespace {

using nlohmann::json;

// The big parts stay text until the small ones are known.
struct ModelJson {
  json fields = json::object();
  std::string_view vocab, merges;
};

ModelJson read_model(JsonCursor& in, const std::string& where) {
  ModelJson out;
  in.expect('{');
  bool first = true;
  while (in.next_element('}', first)) {
    const std::string key(in.key());
    const std::string_view value = in.value_span();
    if (key == "vocab") {
      out.vocab = value;
    } else if (key == "merges") {
      out.merges = value;
    } else {
      out.fields[key] = parse_json(value, where);
    }
  }
  if (out.vocab.empty()) throw Error(Kind::input, where + ": the model has no vocab");
  return out;
}

// Files from before the model had a "type".
std::string model_type(const ModelJson& m) {
  const json& type = member(m.fields, "type");
  if (type.is_string()) return type.get<std::string>();
  if (!m.merges.empty()) return "BPE";
  if (m.vocab.front() == '[') return "Unigram";
  return m.fields.contains("continuing_subword_prefix") || m.fields.contains("max_input_chars_per_word")
             ? "WordPiece"
             : "WordLevel";
}

Vocabulary read_vocab_object(std::string_view text, const std::string& where) {
  Vocabulary out;
  out.reserve(text.size() / 16, text.size() / 2);
  JsonCursor in(text, where + " (vocab)");
  in.expect('{');
  bool first = true;
  std::string piece;
  while (in.next_element('}', first)) {
    piece = in.key();
    const int64_t id = in.integer();
    if (id < 0 || id >= Vocabulary::kMostIds) in.fail("the id " + std::to_string(id));
    if (out.contains(static_cast<int32_t>(id))) in.fail("a second piece with id " + std::to_string(id));
    out.add(static_cast<int32_t>(id), piece);
  }
  return out;
}

// One element of the list of merges: "left right", or ["left", "right"]. False for a comment.
bool read_merge(JsonCursor& in, std::string& left, std::string& right) {
  if (in.accept('[')) {
    left = in.string();
    in.expect(',');
    right = in.string();
    in.expect(']');
    return true;
  }
  const std::string_view line = in.string();
  if (line.starts_with("#version")) return false;
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    in.fail("a merge that is not two pieces");
  }
  left = line.substr(0, space);
  right = line.substr(space + 1);
  return true;
}

MergeTable read_merges(std::string_view text, const Vocabulary& vocab, size_t prefix,
                       const std::string& where) {
  if (text.empty()) return {};
  JsonCursor in(text, where + " (merges)");
  in.expect('[');
  MergeList merges(vocab);
  bool first = true;
  std::string left, right;
  while (in.next_element(']', first)) {
    if (!read_merge(in, left, right)) continue;
    if (right.size() < prefix) in.fail("a merge whose right piece lacks the continuing prefix");
    if (!merges.add(left, right, prefix)) {
      in.fail("the merge of '" + left + "' and '" + right + "', which the vocabulary lacks,");
    }
  }
  return std::move(merges).build();
}

int32_t unk_id(const json& fields, const Vocabulary& vocab, const std::string& where) {
  const std::string unk = field_text(fields, "unk_token", "", where);
  return unk.empty() ? -1 : vocab.find(unk);
}

// Whether a ByteLevel pre-tokenizer may hand this model raw bytes: each byte then has a piece, or vanishes.
bool may_read_bytes(const Vocabulary& vocab, const BpeOptions& o) {
  if (!o.continuing_prefix.empty() || !o.word_suffix.empty()) return false;
  if (o.unk < 0 && !o.byte_fallback) return true;
  for (int b = 0; b < 256; ++b) {
    if (vocab.find(glyph_of_byte(static_cast<uint8_t>(b))) < 0) return false;
  }
  return true;
}

void make_bpe(const ModelJson& m, const json& pre_tokenizer, const std::string& where, TokenizerParts& out) {
  Vocabulary vocab = read_vocab_object(m.vocab, where);
  BpeOptions o;
  o.byte_fallback = field_bool(m.fields, "byte_fallback", false, where);
  o.whole_pieces = field_bool(m.fields, "ignore_merges", false, where);
  o.fuse_unk = field_bool(m.fields, "fuse_unk", false, where);
  o.continuing_prefix = field_text(m.fields, "continuing_subword_prefix", "", where);
  o.word_suffix = field_text(m.fields, "end_of_word_suffix", "", where);
  o.unk = out.special.unk = unk_id(m.fields, vocab, where);
  // "dropout" randomises merges while a model trains; encoding here is always deterministic.
  MergeTable merges = read_merges(m.merges, vocab, o.continuing_prefix.size(), where);
  out.pre_tokenizer = make_pre_tokenizer(pre_tokenizer, may_read_bytes(vocab, o), where + " (pre_tokenizer)");
  o.bytes = out.pre_tokenizer.bytes;
  out.model = std::make_unique<Bpe>(std::move(vocab), std::move(merges), std::move(o));
}

void make_unigram(const ModelJson& m, const json& pre_tokenizer, const std::string& where,
                  TokenizerParts& out) {
  Vocabulary vocab;
  vocab.reserve(m.vocab.size() / 24, m.vocab.size() / 2);
  UnigramOptions o;
  JsonCursor in(m.vocab, where + " (vocab)");
  in.expect('[');
  bool first = true;
  while (in.next_element(']', first)) {
    in.expect('[');
    vocab.add(vocab.size(), in.string());
    in.expect(',');
    o.scores.push_back(in.number());
    in.expect(']');
  }
  const int64_t unk = field_int(m.fields, "unk_id", -1, where);
  if (unk < -1 || unk >= vocab.size()) {
    throw Error(Kind::input, where + ": unk_id is " + std::to_string(unk) + " in a vocabulary of " +
                                 std::to_string(vocab.size()));
  }
  o.unk = out.special.unk = static_cast<int32_t>(unk);
  o.byte_fallback = field_bool(m.fields, "byte_fallback", false, where);
  for (int32_t id = 0; id < vocab.size(); ++id) o.matched.push_back(id);
  o.normal = o.matched;
  out.pre_tokenizer = make_pre_tokenizer(pre_tokenizer, false, where + " (pre_tokenizer)");
  o.cached = !out.pre_tokenizer.steps.empty();
  out.model = std::make_unique<Unigram>(std::move(vocab), std::move(o), where);
}

void make_model(const ModelJson& m, const json& pre_tokenizer, const std::string& where,
                TokenizerParts& out) {
  const std::string type = model_type(m);
  if (type == "BPE") return make_bpe(m, pre_tokenizer, where, out);
  if (type == "Unigram") return make_unigram(m, pre_tokenizer, where, out);
  if (type != "WordPiece" && type != "WordLevel") {
    throw Error(Kind::input, where + ": the model '" + type + "' is not known",
                "known are BPE, Unigram, WordPiece and WordLevel");
  }
  Vocabulary vocab = read_vocab_object(m.vocab, where);
  out.pre_tokenizer = make_pre_tokenizer(pre_tokenizer, false, where + " (pre_tokenizer)");
  out.special.unk = unk_id(m.fields, vocab, where);
  if (type == "WordLevel") {
    out.model = std::make_unique<WordLevel>(std::move(vocab), out.special.unk);
    return;
  }
  WordPieceOptions o;
  o.unk = out.special.unk;
  o.continuing_prefix = field_text(m.fields, "continuing_subword_prefix", "##", where);
  o.longest_word = field_int(m.fields, "max_input_chars_per_word", 100, where);
  out.model = std::make_unique<WordPiece>(std::move(vocab), std::move(o));
}

AddedTokens make_added(const json& list, const TokenizerParts& parts, const std::string& where) {
  std::vector<AddedToken> out;
  if (list.is_null()) return {};
  if (!list.is_array()) throw Error(Kind::input, where + ": expected a list");
  for (const json& entry : list) {
    AddedToken t;
    t.content = required_text(entry, "content", where);
    const int64_t id = JsonReader(entry, where).integer_in("id", 0, Vocabulary::kMostIds - 1);
    // A token that the model knows keeps the model's id.
    const int32_t known = parts.model->vocabulary().find(t.content);
    t.id = known >= 0 ? known : static_cast<int32_t>(id);
    t.single_word = field_bool(entry, "single_word", false, where);
    t.lstrip = field_bool(entry, "lstrip", false, where);
    t.rstrip = field_bool(entry, "rstrip", false, where);
    t.special = field_bool(entry, "special", false, where);
    t.normalized = field_bool(entry, "normalized", !t.special, where);
    out.push_back(std::move(t));
  }
  return {std::move(out), parts.normalizer.get()};
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view bytes, const std::string& where) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  if (!is_utf8(bytes)) throw Error(Kind::input, where + ": not UTF-8");
  JsonCursor in(bytes, where);
  std::map<std::string, json> parts;
  std::optional<ModelJson> model;
  in.expect('{');
  bool first = true;
  while (in.next_element('}', first)) {
    const std::string key(in.key());
    if (key == "model") {
      model = read_model(in, where);
    } else {
      parts[key] = parse_json(in.value_span(), where);
    }
  }
  in.expect_end();
  if (!model) throw Error(Kind::input, where + ": no 'model' in this tokenizer.json");
  TokenizerParts out;
  out.source = where;
  out.normalizer = make_normalizer(parts["normalizer"], where + " (normalizer)");
  make_model(*model, parts["pre_tokenizer"], where, out);
  out.added = make_added(parts["added_tokens"], out, where + " (added_tokens)");
  out.post_processor = make_post_processor(parts["post_processor"], where + " (post_processor)");
  out.decoder = make_decoder(parts["decoder"], where + " (decoder)");
  guess_special_ids(out);
  return out;
}

}  // namespace mneme
