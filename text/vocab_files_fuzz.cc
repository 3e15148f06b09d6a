// vocab.json, merges.txt and dict.txt, parted by zero bytes; and vocab.txt.
#include <cstdint>

#include "text/fuzz_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mneme;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view vocab = all.substr(0, all.find('\0'));
  const std::string_view rest = vocab.size() < size ? all.substr(vocab.size() + 1) : std::string_view();
  const std::string_view merges = rest.substr(0, rest.find('\0'));
  const std::string_view dict =
      merges.size() < rest.size() ? rest.substr(merges.size() + 1) : std::string_view();
  try_tokenizer([&] { return parse_gpt2_files(vocab, merges, "input"); });
  try_tokenizer([&] { return parse_fairseq_files(vocab, merges, dict, "input"); });
  try_tokenizer([&] { return parse_bert_vocab(all, true, "input"); });
  return 0;
}
