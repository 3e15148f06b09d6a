#include "text/bpe_trainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/byte_glyphs.h"
#include "text/pre_tokenizer.h"
#include "text/split_scanner.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace mneme {

namespace {

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return hash_bytes(s.data(), s.size()); }
};

using WordCounts = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;

using PairKey = uint64_t;

PairKey key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}
int32_t left_of(PairKey key) { return static_cast<int32_t>(key >> 32); }
int32_t right_of(PairKey key) { return static_cast<int32_t>(key & UINT32_MAX); }

struct PairInfo {
  int64_t count = 0;
  std::vector<uint32_t> words;  // that may hold the pair; sorted and unique only when it is merged
};

struct Candidate {
  int64_t count;
  PairKey pair;
};

class Merger {
 public:
  Merger(const WordCounts& words, int64_t pieces, int64_t least)
      : most_pieces_(pieces), least_(std::max<int64_t>(least, 1)), queue_(Less{this}) {
    for (int b = 0; b < 256; ++b) add_piece(std::string(1, static_cast<char>(b)));
    for (const auto& [text, count] : words) {
      starts_.push_back(symbols_.size());
      sizes_.push_back(static_cast<uint32_t>(text.size()));
      counts_.push_back(count);
      for (const char c : text) symbols_.push_back(static_cast<unsigned char>(c));
    }
    for (uint32_t w = 0; w < counts_.size(); ++w) {
      for (uint32_t i = 0; i + 1 < sizes_[w]; ++i)
        count(symbols_[starts_[w] + i], symbols_[starts_[w] + i + 1], w);
    }
    for (const auto& [pair, info] : pairs_) queue_.push({info.count, pair});
  }

  // Appends the merges; `pieces` are the bytes in their order and then what was merged.
  void run(TrainedBpe& out) {
    while (static_cast<int64_t>(pieces_.size()) < most_pieces_ && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto it = pairs_.find(top.pair);
      if (it == pairs_.end() || it->second.count == 0) continue;
      if (it->second.count != top.count) {  // an entry from before the count changed
        if (it->second.count < top.count) queue_.push({it->second.count, top.pair});
        continue;
      }
      if (top.count < least_) break;
      out.merges.emplace_back(pieces_[left_of(top.pair)], pieces_[right_of(top.pair)]);
      merge(top.pair);
    }
    out.pieces = pieces_;
  }

 private:
  struct Less {
    const Merger* merger;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      const auto& pieces = merger->pieces_;
      if (left_of(a.pair) != left_of(b.pair)) return pieces[left_of(a.pair)] < pieces[left_of(b.pair)];
      return pieces[right_of(a.pair)] < pieces[right_of(b.pair)];
    }
  };

  int32_t add_piece(const std::string& text) {
    const auto [it, fresh] = ids_.try_emplace(text, static_cast<int32_t>(pieces_.size()));
    if (fresh) pieces_.push_back(text);
    return it->second;
  }

  void count(int32_t left, int32_t right, uint32_t word) {
    PairInfo& info = pairs_[key_of(left, right)];
    info.count += counts_[word];
    if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
  }

  void uncount(int32_t left, int32_t right, uint32_t word) {
    pairs_[key_of(left, right)].count -= counts_[word];
  }

  void merge(PairKey pair) {
    // The same text may come about in two ways; it is one piece.
    const int32_t merged = add_piece(pieces_[left_of(pair)] + pieces_[right_of(pair)]);
    std::vector<uint32_t> words = std::move(pairs_[pair].words);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    grown_.clear();
    for (const uint32_t w : words) merge_in(w, left_of(pair), right_of(pair), merged);
    pairs_.erase(pair);
    std::sort(grown_.begin(), grown_.end());
    grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
    // Counts only rise for pairs with the new piece; the others are corrected when they come up.
    for (const PairKey key : grown_) queue_.push({pairs_[key].count, key});
  }

  void merge_in(uint32_t word, int32_t left, int32_t right, int32_t merged) {
    int32_t* s = symbols_.data() + starts_[word];
    uint32_t size = sizes_[word], kept = 0;
    for (uint32_t i = 0; i < size;) {
      if (i + 1 >= size || s[i] != left || s[i + 1] != right) {
        s[kept++] = s[i++];
        continue;
      }
      uncount(left, right, word);
      if (kept > 0) {
        uncount(s[kept - 1], left, word);
        count(s[kept - 1], merged, word);
        grown_.push_back(key_of(s[kept - 1], merged));
      }
      if (i + 2 < size) {
        uncount(right, s[i + 2], word);
        count(merged, s[i + 2], word);
        grown_.push_back(key_of(merged, s[i + 2]));
      }
      s[kept++] = merged;
      i += 2;
    }
    sizes_[word] = kept;
  }

  int64_t most_pieces_, least_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<int32_t> symbols_;  // of all words
  std::vector<size_t> starts_;
  std::vector<uint32_t> sizes_;
  std::vector<int64_t> counts_;
  std::unordered_map<PairKey, PairInfo> pairs_;
  std::vector<PairKey> grown_;
  std::priority_queue<Candidate, std::vector<Candidate>, Less> queue_;
};

}  // namespace

struct BpeTrainer::Words {
  AddedTokens special;
  std::unique_ptr<PreTokenizerStep> split;
  WordCounts counts;
};

BpeTrainer::BpeTrainer(BpeTrainOptions options)
    : options_(std::move(options)), words_(std::make_unique<Words>()) {
  const auto least = static_cast<int64_t>(options_.special.size()) + 256;
  if (options_.vocab_size < least || options_.vocab_size > Vocabulary::kMostIds) {
    throw Error(Kind::usage,
                "a vocabulary of " + std::to_string(options_.vocab_size) +
                    " pieces; the bytes and special tokens alone are " + std::to_string(least),
                "give a size from " + std::to_string(least) + " to " + std::to_string(Vocabulary::kMostIds));
  }
  if (options_.pattern.empty()) options_.pattern = kGpt2Pattern;
  std::vector<AddedToken> special;
  for (const std::string& text : options_.special) {
    AddedToken t;
    t.id = static_cast<int32_t>(special.size());
    t.content = text;
    t.special = true;
    if (text.empty() || !is_utf8(text)) throw Error(Kind::usage, "a special token that is empty or no UTF-8");
    special.push_back(std::move(t));
  }
  words_->special = AddedTokens(std::move(special), nullptr);
  if (words_->special.all().size() != options_.special.size()) {
    throw Error(Kind::usage, "a special token is given twice");
  }
  words_->split = make_split_step(options_.pattern, SplitBehavior::isolated, false, "the split pattern");
}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::string_view text) {
  if (text.size() > UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
  PieceList list;
  list.own(is_utf8(text) ? std::string(text) : repaired_utf8(text));
  if (list.text.empty()) return;
  list.pieces.push_back({0, static_cast<uint32_t>(list.text.size()), -1, true});
  words_->special.split_original(list, false);
  words_->split->apply(list);
  for (const TextPiece& p : list.pieces) {
    if (p.id >= 0) continue;
    const std::string_view word = list.view(p);
    const auto it = words_->counts.find(word);
    if (it != words_->counts.end()) {
      ++it->second;
    } else {
      words_->counts.emplace(word, 1);
    }
  }
}

TrainedBpe BpeTrainer::train() const {
  TrainedBpe out;
  out.special = options_.special;
  out.pattern = options_.pattern;
  const int64_t pieces = options_.vocab_size - static_cast<int64_t>(options_.special.size());
  Merger(words_->counts, pieces, options_.least_count).run(out);
  // The bytes stand in the order of their glyphs, as in GPT-2's vocabulary.
  std::sort(out.pieces.begin(), out.pieces.begin() + 256, [](const std::string& a, const std::string& b) {
    return bytes_to_glyphs(a) < bytes_to_glyphs(b);
  });
  return out;
}

std::string to_tokenizer_json(const TrainedBpe& trained) {
  using Json = nlohmann::ordered_json;
  Json added = Json::array(), vocab = Json::object(), merges = Json::array();
  int32_t id = 0;
  for (const std::string& text : trained.special) {
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[text] = id++;
  }
  for (const std::string& piece : trained.pieces) {
    // A special token that is a piece too keeps its own id.
    if (const std::string glyphs = bytes_to_glyphs(piece); !vocab.contains(glyphs)) vocab[glyphs] = id;
    ++id;
  }
  for (const auto& [left, right] : trained.merges) {
    merges.push_back({bytes_to_glyphs(left), bytes_to_glyphs(right)});
  }
  const bool gpt2 = trained.pattern == kGpt2Pattern;
  const Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", gpt2}};
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", trained.pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const Json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       gpt2 ? bytes : Json{{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}},
      {"post_processor", nullptr},
      {"decoder", bytes},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", merges}}},
  };
  return file.dump(1) + "\n";
}

}  // namespace mneme
