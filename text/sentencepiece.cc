// tokenizer.model of SentencePiece: a protocol buffer, of which the fields that matter are read here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "text/spm_model.h"
#include "text/utf8.h"

namespace mneme {
namespace {

// One field of a message.
struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;       // 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes
  uint64_t value = 0;      // of wires 0, 1 and 5
  std::string_view bytes;  // of wire 2
};

class ProtoReader {
 public:
  ProtoReader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  bool next(Field& f) {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    f.number = static_cast<uint32_t>(tag >> 3);
    f.wire = static_cast<uint32_t>(tag & 7);
    if (f.number == 0) fail();
    if (f.wire == 0) {
      f.value = varint();
    } else if (f.wire == 1) {
      f.value = fixed(8);
    } else if (f.wire == 2) {
      f.bytes = take(varint());
    } else if (f.wire == 5) {
      f.value = fixed(4);
    } else {
      fail();
    }
    return true;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(Kind::input, where_ + ": not a SentencePiece model (byte " + std::to_string(at_) + ")",
                "the file is cut short or of another kind; fetch it again");
  }
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) fail();
    const std::string_view out = bytes_.substr(at_, count);
    at_ += count;
    return out;
  }
  uint64_t fixed(uint64_t count) {
    uint64_t out = 0;
    std::memcpy(&out, take(count).data(), count);
    return out;
  }
  uint64_t varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      out |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return out;
    }
    fail();
  }

  std::string_view bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

int32_t as_id(uint64_t value) { return static_cast<int32_t>(static_cast<uint32_t>(value)); }

SpmModel::Piece read_piece(std::string_view bytes, const std::string& where) {
  SpmModel::Piece out;
  ProtoReader in(bytes, where);
  for (Field f; in.next(f);) {
    if (f.number == 1 && f.wire == 2) out.text = f.bytes;
    if (f.number == 2 && f.wire == 5) {
      const auto bits = static_cast<uint32_t>(f.value);
      std::memcpy(&out.score, &bits, 4);
    }
    if (f.number == 3 && f.wire == 0) {
      if (f.value < 1 || f.value > 6) {
        throw Error(Kind::input, where + ": a piece of unknown type " + std::to_string(f.value));
      }
      out.type = static_cast<SpmPieceType>(f.value);
    }
  }
  if (!std::isfinite(out.score)) throw Error(Kind::input, where + ": a piece whose score is no number");
  return out;
}

void read_trainer(std::string_view bytes, const std::string& where, SpmModel& out) {
  ProtoReader in(bytes, where);
  for (Field f; in.next(f);) {
    if (f.number == 44 && f.wire == 2) out.unk_surface = repaired_utf8(f.bytes);
    if (f.wire != 0) continue;
    if (f.number == 3) {
      if (f.value < 1 || f.value > 4) {
        throw Error(Kind::input, where + ": unknown SentencePiece model type " + std::to_string(f.value));
      }
      out.type = static_cast<SpmModelType>(f.value);
    }
    if (f.number == 24) out.normalizer.spaces_are_suffixes = f.value != 0;
    if (f.number == 35) out.byte_fallback = f.value != 0;
    if (f.number == 40) out.unk = as_id(f.value);
    if (f.number == 41) out.bos = as_id(f.value);
    if (f.number == 42) out.eos = as_id(f.value);
    if (f.number == 43) out.pad = as_id(f.value);
  }
}

void read_normalizer(std::string_view bytes, const std::string& where, SpmModel& out) {
  ProtoReader in(bytes, where);
  for (Field f; in.next(f);) {
    if (f.number == 2 && f.wire == 2) out.charsmap = f.bytes;
    if (f.wire != 0) continue;
    if (f.number == 3) out.normalizer.add_dummy_prefix = f.value != 0;
    if (f.number == 4) out.normalizer.remove_extra_spaces = f.value != 0;
    if (f.number == 5) out.normalizer.escape_spaces = f.value != 0;
  }
}

}  // namespace

SpmModel read_sentencepiece(std::string_view bytes, const std::string& where) {
  SpmModel m;
  ProtoReader in(bytes, where);
  for (Field f; in.next(f);) {
    if (f.wire != 2) continue;
    if (f.number == 1) m.pieces.push_back(read_piece(f.bytes, where));
    if (f.number == 2) read_trainer(f.bytes, where, m);
    if (f.number == 3) read_normalizer(f.bytes, where, m);
  }
  const auto unknown = std::ranges::find(m.pieces, SpmPieceType::unknown, &SpmModel::Piece::type);
  if (unknown != m.pieces.end()) m.unk = static_cast<int32_t>(unknown - m.pieces.begin());
  // Models without a beginning of text (T5) end it instead.
  const auto exists = [&](int32_t id) { return id >= 0 && id < static_cast<int32_t>(m.pieces.size()); };
  if (!exists(m.bos)) m.bos = -1;
  if (!exists(m.eos)) m.eos = -1;
  if (!exists(m.pad)) m.pad = -1;
  m.add_bos = m.bos >= 0;
  m.add_eos = m.bos < 0 && m.eos >= 0;
  return m;
}

TokenizerParts parse_sentencepiece(std::string_view bytes, const std::string& where) {
  return make_spm_tokenizer(read_sentencepiece(bytes, where), where);
}

}  // namespace mneme
