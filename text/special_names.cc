#include "text/special_names.h"

#include <initializer_list>
#include <string_view>

#include "text/tokenizer.h"

namespace mneme {
namespace {

int32_t first_known(const TokenizerParts& parts, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const AddedToken* t = parts.added.find(name)) return t->id;
  }
  return -1;
}

}  // namespace

void guess_special_ids(TokenizerParts& parts) {
  SpecialIds& s = parts.special;
  // What a template puts in front of and behind a text is the best evidence.
  if (!parts.post_processor.templates.empty()) {
    const std::vector<int32_t>& form = parts.post_processor.templates.back();
    if (s.bos < 0 && form.size() > 1 && form.front() >= 0) s.bos = form.front();
    if (s.eos < 0 && form.size() > 1 && form.back() >= 0) s.eos = form.back();
  }
  if (s.bos < 0) {
    s.bos = first_known(parts, {"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>"});
  }
  if (s.eos < 0) s.eos = first_known(parts, {"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"});
  if (s.pad < 0) s.pad = first_known(parts, {"<pad>", "[PAD]", "<|padding|>", "<|pad|>", "<PAD>"});
  if (s.unk < 0) s.unk = first_known(parts, {"<unk>", "[UNK]", "<UNK>"});
}

}  // namespace mneme
