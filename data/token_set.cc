#include "data/token_set.h"

#include <algorithm>

#include "base/error.h"
#include "data/prepare.h"

namespace mneme {

TokenSet::TokenSet(std::vector<TokenizedDocument> documents) : memory_(std::move(documents)) {
  begins_.push_back(0);
  for (const TokenizedDocument& document : memory_) {
    MNEME_CHECK(document.trained.empty() || document.trained.size() == document.ids.size());
    const auto count = static_cast<int64_t>(document.ids.size());
    begins_.push_back(begins_.back() + count);
    trained_ += document.trained.empty()
                    ? count
                    : std::count(document.trained.begin(), document.trained.end(), uint8_t{1});
    for (const int32_t id : document.ids) vocabulary_ = std::max<int64_t>(vocabulary_, id + 1);
  }
}

TokenSet TokenSet::open(const std::string& path, Shard::Check check) {
  TokenSet set;
  set.begins_.push_back(0);
  for (const std::string& file : prepared_shards(path)) {
    Shard shard(file, check);
    if (!set.shards_.empty() && shard.info().tokenizer != set.tokenizer_) {
      throw Error(Kind::input, file + ": made with another tokenizer than the shards before it");
    }
    set.tokenizer_ = shard.info().tokenizer;
    set.vocabulary_ = std::max<int64_t>(set.vocabulary_, shard.info().vocabulary);
    const int64_t base = set.begins_.back();
    set.shard_begins_.push_back(base);
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      set.begins_.push_back(base + static_cast<int64_t>(shard.end_of(d)));
    }
    set.trained_ += static_cast<int64_t>(shard.trained());
    set.shards_.push_back(std::move(shard));
  }
  return set;
}

void TokenSet::copy(int64_t first, int64_t count, int32_t* ids, uint8_t* counts) const {
  MNEME_CHECK(first >= 0 && count >= 0 && first <= tokens() - count);
  const bool in_memory = shards_.empty();
  const std::vector<int64_t>& begins = in_memory ? begins_ : shard_begins_;
  auto part = static_cast<size_t>(std::upper_bound(begins.begin(), begins.end(), first) - begins.begin()) - 1;
  while (count > 0) {
    const int64_t end = part + 1 < begins.size() ? begins[part + 1] : tokens();
    const int64_t from = first - begins[part], take = std::min(count, end - first);
    if (in_memory) {
      const TokenizedDocument& document = memory_[part];
      std::copy_n(document.ids.begin() + from, take, ids);
      if (document.trained.empty()) {
        std::fill_n(counts, take, uint8_t{1});
      } else {
        std::copy_n(document.trained.begin() + from, take, counts);
      }
    } else {
      const Shard& shard = shards_[part];
      shard.copy(static_cast<uint64_t>(from), static_cast<size_t>(take), ids);
      for (int64_t i = 0; i < take; ++i) counts[i] = shard.counts(static_cast<uint64_t>(from + i));
    }
    first += take;
    ids += take;
    counts += take;
    count -= take;
    ++part;
  }
}

}  // namespace mneme
