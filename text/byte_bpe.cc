#include "text/byte_bpe.h"

#include <charconv>
#include <map>
#include <utility>

#include "base/error.h"
#include "text/json_cursor.h"
#include "text/split_scanner.h"
#include "text/utf8.h"

namespace mneme {

MergeTable read_merge_lines(const std::vector<std::string_view>& lines, const Vocabulary& vocab,
                            const std::string& where) {
  MergeList merges(vocab);
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t space = lines[i].find(' ', 1);  // a piece may itself be a space
    const std::string_view right = space == std::string_view::npos ? "" : lines[i].substr(space + 1);
    if (right.empty() || !merges.add(lines[i].substr(0, space), right)) {
      throw Error(Kind::input, where + ": merge " + std::to_string(i) + " is '" + std::string(lines[i]) +
                                   "', which is not two pieces of the vocabulary that give a third");
    }
  }
  return std::move(merges).build();
}

std::vector<std::string_view> merge_lines(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && !line.starts_with("#version")) out.push_back(line);
  }
  return out;
}

TokenizerParts make_byte_bpe(Vocabulary vocab, MergeTable merges, bool whole_pieces,
                             const std::vector<std::string_view>& patterns, const std::string& where) {
  TokenizerParts out;
  out.source = where;
  for (const std::string_view p : patterns) {
    out.pre_tokenizer.steps.push_back(make_split_step(p, SplitBehavior::isolated, false, where));
  }
  out.pre_tokenizer.bytes = true;
  BpeOptions o;
  o.bytes = true;
  o.whole_pieces = whole_pieces;
  out.model = std::make_unique<Bpe>(std::move(vocab), std::move(merges), std::move(o));
  out.decoder = make_byte_level_decoder();
  return out;
}

namespace {

std::vector<std::pair<std::string, int32_t>> read_vocab_json(std::string_view text,
                                                             const std::string& where) {
  if (!is_utf8(text)) throw Error(Kind::input, where + ": not UTF-8");
  std::vector<std::pair<std::string, int32_t>> out;
  JsonCursor in(text, where);
  in.expect('{');
  bool first = true;
  while (in.next_element('}', first)) {
    std::string piece(in.key());
    const int64_t id = in.integer();
    if (id < 0 || id >= Vocabulary::kMostIds) in.fail("the id " + std::to_string(id));
    out.emplace_back(std::move(piece), static_cast<int32_t>(id));
  }
  in.expect_end();
  return out;
}

}  // namespace

TokenizerParts parse_gpt2_files(std::string_view vocab_json, std::string_view merges_txt,
                                const std::string& where) {
  Vocabulary vocab;
  for (const auto& [piece, id] : read_vocab_json(vocab_json, where)) vocab.add(id, piece);
  MergeTable merges = read_merge_lines(merge_lines(merges_txt), vocab, where);
  TokenizerParts out = make_byte_bpe(std::move(vocab), std::move(merges), false, {kGpt2Pattern}, where);
  if (const int32_t end = out.model->vocabulary().find("<|endoftext|>"); end >= 0) {
    AddedToken t;
    t.id = end;
    t.content = "<|endoftext|>";
    t.special = true;
    out.added = AddedTokens({t}, nullptr);
    out.special = {end, end, -1, end};
  }
  return out;
}

// dict.txt maps the decimal string of a GPT-2 id to a model id: line i, "<bpe id> <count>", has id i + 4,
// after <s>, <pad>, </s> and <unk>. Names that are no number (madeupword0000) pad the vocabulary and decode
// to nothing, as do <s>, <pad> and </s>.
TokenizerParts parse_fairseq_files(std::string_view vocab_json, std::string_view merges_txt,
                                   std::string_view dict_txt, const std::string& where) {
  if (!is_utf8(dict_txt)) throw Error(Kind::input, where + ": not UTF-8");
  std::map<int32_t, std::string> gpt2;
  for (auto& [piece, id] : read_vocab_json(vocab_json, where)) gpt2[id] = std::move(piece);
  Vocabulary vocab;
  std::vector<AddedToken> named;
  const auto name = [&](int32_t id, std::string content) {
    AddedToken t;
    t.id = id;
    t.content = std::move(content);
    t.special = true;
    named.push_back(std::move(t));
  };
  name(0, "<s>");
  name(1, "<pad>");
  name(2, "</s>");
  name(3, "<unk>");
  int32_t next = 4;
  for (const std::string_view line : merge_lines(dict_txt)) {
    const std::string_view word = line.substr(0, line.find(' '));
    int32_t bpe = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bpe);
    const int32_t id = next++;
    if (error != std::errc() || end != word.data() + word.size()) {
      name(id, std::string(word));
    } else if (const auto it = gpt2.find(bpe); it != gpt2.end()) {
      vocab.add(id, it->second);
    } else {
      throw Error(Kind::input, where + ": the dictionary names the GPT-2 id " + std::string(word) +
                                   ", which its vocabulary lacks");
    }
  }
  for (const auto& [id, piece] : gpt2) {
    if (vocab.find(piece) < 0) {
      throw Error(Kind::input, where + ": the dictionary lacks the GPT-2 id " + std::to_string(id));
    }
  }
  MergeTable merges = read_merge_lines(merge_lines(merges_txt), vocab, where);
  TokenizerParts out = make_byte_bpe(std::move(vocab), std::move(merges), false, {kGpt2Pattern}, where);
  out.added = AddedTokens(std::move(named), nullptr);
  out.parses_special = false;  // <|endoftext|> and <s> are ordinary text
  out.hides_special = true;
  out.special = {0, 2, 1, 3};
  out.post_processor = surround({0}, {2});
  return out;
}

}  // namespace mneme
