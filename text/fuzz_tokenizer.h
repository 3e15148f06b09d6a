// What the fuzz targets of this folder share: using a tokenizer that came from arbitrary bytes.
#pragma once

#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace mneme {

inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

// Encodes, and checks what must hold for every tokenizer: ids in range, text well-formed, also in a stream.
inline void exercise(const Tokenizer& t, std::string_view text) {
  const std::vector<int32_t> ids = t.encode(text, true);
  StreamDecoder stream = t.stream(false);
  for (const int32_t id : ids) {
    require(id >= 0 && id < t.vocab_size());
    require(is_utf8(stream.push(id)));
  }
  require(is_utf8(stream.finish()));
  require(is_utf8(t.decode(ids, false)));
  require(is_utf8(t.decode(ids, true)));
}

// Parses and uses; only mneme::Error may escape from either.
template <class Parse>
void try_tokenizer(Parse parse) {
  try {
    const Tokenizer t(parse());
    for (const char* text :
         {"", "Hello world", " a\xC3\xA9\xE2\x96\x81<s></s>b 12\n\t!", "\xF0\x9F\x98\x80\xFF\x80"}) {
      exercise(t, text);
    }
    for (int32_t id = -1; id < 64; ++id) require(is_utf8(t.decode(std::vector<int32_t>{id, id + 1}, false)));
  } catch (const Error&) {
  }
}

}  // namespace mneme
