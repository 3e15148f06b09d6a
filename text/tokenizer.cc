#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer),
      skip_special_(skip_special),
      chain_(tokenizer.parts_.decoder(DecodeMode::stream)) {}

std::string StreamDecoder::push(int32_t id) {
  tokenizer_->push_piece(chain_, id, skip_special_);
  return chain_.take();
}

std::string StreamDecoder::finish() {
  chain_.finish();
  std::string out = chain_.take();
  chain_ = tokenizer_->parts_.decoder(DecodeMode::stream);
  return out;
}

Tokenizer::Tokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  MNEME_CHECK(parts_.model && parts_.decoder);
  vocab_size_ = parts_.model->vocabulary().size();
  for (const AddedToken& t : parts_.added.all()) vocab_size_ = std::max(vocab_size_, t.id + 1);
}

std::unique_ptr<EncodeScratch> Tokenizer::borrow_scratch() const {
  const std::lock_guard lock(scratch_mutex_);
  if (idle_scratch_.empty()) return std::make_unique<EncodeScratch>();
  auto out = std::move(idle_scratch_.back());
  idle_scratch_.pop_back();
  return out;
}

void Tokenizer::return_scratch(std::unique_ptr<EncodeScratch> scratch) const {
  // A buffer grown by one huge piece is not kept for ever.
  constexpr size_t kKept = 1 << 20;
  if (scratch->symbols.capacity() * sizeof(MergeSymbol) > kKept) scratch->symbols = {};
  if (scratch->heap.capacity() * sizeof(HeapEntry) > kKept) scratch->heap = {};
  if (scratch->paths.capacity() * sizeof(BestPath) > kKept) scratch->paths = {};
  const std::lock_guard lock(scratch_mutex_);
  idle_scratch_.push_back(std::move(scratch));
}

void Tokenizer::normalize(PieceList& list) const {
  std::string out, buffer;
  out.reserve(list.text.size() + list.text.size() / 8);
  for (TextPiece& p : list.pieces) {
    const size_t begin = out.size();
    if (p.id < 0) {
      buffer.assign(list.view(p));
      bool front_lost = false;
      parts_.normalizer->apply(buffer, front_lost);
      p.at_start = p.at_start && !front_lost;
      out += buffer;
    }
    if (out.size() > UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
    p.begin = static_cast<uint32_t>(begin);
    p.end = static_cast<uint32_t>(out.size());
  }
  list.own(std::move(out));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special,
                                       SpecialText special_text) const {
  if (text.size() > UINT32_MAX) throw Error(Kind::input, "a text of more than 4 GB; cut it into parts");
  const bool special_as_text =
      special_text == SpecialText::plain || (special_text == SpecialText::native && !parts_.parses_special);
  PieceList list;
  if (is_utf8(text)) {
    list.text = text;
  } else {
    list.own(repaired_utf8(text));
  }
  if (!list.text.empty()) list.pieces.push_back({0, static_cast<uint32_t>(list.text.size()), -1, true});
  parts_.added.split_original(list, special_as_text);
  if (parts_.normalizer) normalize(list);
  parts_.added.split_normalized(list, special_as_text);
  parts_.pre_tokenizer.apply(list);

  auto scratch = borrow_scratch();
  std::vector<int32_t> ids;
  ids.reserve(list.text.size() / 4 + 8);
  for (const TextPiece& p : list.pieces) {
    if (p.id >= 0) {
      ids.push_back(p.id);
    } else if (p.begin != p.end) {
      parts_.model->encode(list.view(p), *scratch, ids);
    }
  }
  return_scratch(std::move(scratch));
  return add_special ? parts_.post_processor.apply(std::move(ids)) : ids;
}

void Tokenizer::push_piece(DecodeChain& chain, int32_t id, bool skip_special) const {
  skip_special = skip_special || parts_.hides_special;
  if (const AddedToken* token = parts_.added.find(id)) {
    if (!(skip_special && token->special)) chain.push(token->content, id);
    return;
  }
  const auto piece = parts_.model->vocabulary().piece(id);
  if (!piece) return;
  // A special token is known by its text: a second id with the same text is special too.
  const AddedToken* same = skip_special ? parts_.added.find(*piece) : nullptr;
  if (!(same && same->special)) chain.push(*piece, id);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  DecodeChain chain = parts_.decoder(DecodeMode::whole);
  for (const int32_t id : ids) push_piece(chain, id, skip_special);
  chain.finish();
  return chain.take();
}

std::optional<int32_t> Tokenizer::id_of(std::string_view piece) const {
  if (const AddedToken* token = parts_.added.find(piece)) return token->id;
  const int32_t id = parts_.model->vocabulary().find(piece);
  return id < 0 ? std::nullopt : std::optional(id);
}

std::optional<std::string> Tokenizer::piece_of(int32_t id) const {
  if (const AddedToken* token = parts_.added.find(id)) return token->content;
  const auto piece = parts_.model->vocabulary().piece(id);
  return piece ? std::optional(std::string(*piece)) : std::nullopt;
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = parts_.added.find(id);
  return token && token->special;
}

uint64_t Tokenizer::fingerprint() const {
  uint64_t h = 0xCBF29CE484222325u;  // FNV-1a: slow, but the same in every version
  const auto mix = [&h](uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) h = (h ^ (value >> (8 * i) & 0xFF)) * 0x100000001B3u;
  };
  for (int32_t id = 0; id < vocab_size_; ++id) {
    const auto piece = piece_of(id);
    if (!piece) continue;
    mix(static_cast<uint64_t>(id) * 2 + (is_special(id) ? 1 : 0), 5);
    mix(piece->size(), 4);
    for (const char c : *piece) mix(static_cast<unsigned char>(c), 1);
  }
  return h;
}

}  // namespace mneme
