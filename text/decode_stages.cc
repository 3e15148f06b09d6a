#include "text/decode_stages.h"

#include <algorithm>

#include "text/byte_glyphs.h"

namespace mneme::decode {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// Moves settled characters from the front of `bytes` to `out`; a byte that begins none becomes U+FFFD. With
// `all`, an unfinished character at the end too.
void take_characters(std::string& bytes, bool all, std::string& out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Rune r = decode_rune(bytes.data() + at, bytes.data() + bytes.size());
    if (r.cut && !all) break;
    if (r.valid) {
      out.append(bytes, at, r.size);
      at += r.size;
    } else {
      out += kReplacementUtf8;
      ++at;
    }
  }
  bytes.erase(0, at);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte that "<0xE2>" stands for, or -1.
int byte_of_token(std::string_view t) {
  if (t.size() != 6 || !t.starts_with("<0x") || t.back() != '>') return -1;
  const int high = hex_digit(t[3]), low = hex_digit(t[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace

std::string tidy_spaces(std::string text) {
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) replace_all(text, from, to);
  return text;
}

void Gather::push(const DecodedChunk& chunk) {
  if (chunk.starts) flush();
  held_ += chunk.text;
  holds_ = true;
}

void Gather::flush() {
  if (holds_) hand_on(held_, true);
  held_.clear();
  holds_ = false;
}

void Spaces::push(const DecodedChunk& chunk) {
  if (any_) hand_on(" ", true);
  any_ = true;
  hand_on(chunk.text, true);
}

void ByteLevel::push(const DecodedChunk& chunk) {
  std::string bytes, text;
  // A token with a character that is no glyph (an added one) stands for itself.
  if (!glyphs_to_bytes(chunk.text, bytes)) bytes = chunk.text;
  utf8_.push(bytes, text);
  if (text.empty() && started_) return;
  hand_on(text, !started_);
  started_ = true;
}

void ByteLevel::flush() {
  std::string text;
  utf8_.finish(text);
  if (text.empty()) return;
  hand_on(text, !started_);
  started_ = true;
}

void ByteFallback::push(const DecodedChunk& chunk) {
  const int byte = byte_of_token(chunk.text);
  if (byte >= 0) {
    bytes_ += static_cast<char>(byte);
    if (mode_ == DecodeMode::stream) emit_settled(false);
    return;
  }
  flush();
  hand_on(chunk.text, true, chunk.id);
}

void ByteFallback::emit_settled(bool all) {
  std::string text;
  take_characters(bytes_, all, text);
  if (text.empty()) return;
  hand_on(text, !in_run_);
  in_run_ = true;
}

void ByteFallback::flush() {
  if (mode_ == DecodeMode::stream) {
    emit_settled(true);
  } else if (is_utf8(bytes_)) {
    if (!bytes_.empty()) hand_on(bytes_, true);
  } else {
    for (size_t i = 0; i < bytes_.size(); ++i) hand_on(kReplacementUtf8, true);
  }
  bytes_.clear();
  in_run_ = false;
}

void Fuse::push(const DecodedChunk& chunk) {
  hand_on(chunk.text, !started_);
  started_ = true;
}

void Strip::pass(std::string_view text) {
  if (text.empty()) return;
  hand_on(text, starts_);
  starts_ = false;
}

void Strip::end_token() {
  if (!open_) return;
  // What is held back beyond `stop_` belongs to the text.
  for (; trailing_ > stop_; --trailing_) pass(content_);
  trailing_ = 0;
  if (starts_) hand_on("", true);
  starts_ = open_ = false;
}

void Strip::push(const DecodedChunk& chunk) {
  if (chunk.starts) {
    end_token();
    starts_ = open_ = true;
    to_cut_ = start_;
  }
  std::string_view text = chunk.text;
  while (!text.empty()) {
    if (to_cut_ == 0 && stop_ == 0) return pass(text);
    const std::string_view c = text.substr(0, rune_size(text[0]));
    text.remove_prefix(c.size());
    if (c == content_ && to_cut_ > 0) {
      --to_cut_;
      continue;
    }
    to_cut_ = 0;
    if (c == content_ && stop_ > 0) {
      ++trailing_;
      continue;
    }
    for (; trailing_ > 0; --trailing_) pass(content_);
    pass(c);
  }
}

void Strip::flush() { end_token(); }

void Replace::push(const DecodedChunk& chunk) {
  std::string text(chunk.text);
  replacement_->apply(text, nullptr);
  hand_on(text, true, chunk.id);
}

void ReplaceAcross::push(const DecodedChunk& chunk) {
  if (chunk.starts) {
    flush();
    starts_ = true;
  }
  held_ += chunk.text;
  const std::string& from = replacement_->from();
  // Everything up to the last whole match is settled, and all that cannot begin another.
  size_t settled = 0;
  if (!from.empty()) {
    for (size_t at; (at = held_.find(from, settled)) != std::string::npos;) settled = at + from.size();
  }
  size_t keep = std::min(from.empty() ? 0 : from.size() - 1, held_.size() - settled);
  while (keep > 0 && held_.compare(held_.size() - keep, keep, from, 0, keep) != 0) --keep;
  std::string text = held_.substr(0, held_.size() - keep);
  held_.erase(0, text.size());
  replacement_->apply(text, nullptr);
  if (text.empty() && !starts_) return;
  hand_on(text, starts_);
  starts_ = false;
}

void ReplaceAcross::flush() {
  if (!held_.empty() || starts_) hand_on(held_, starts_);
  held_.clear();
  starts_ = false;
}

void Metaspace::push(const DecodedChunk& chunk) {
  std::string text(chunk.text);
  replace_all(text, mark_, first_ && drops_first_ ? "" : " ");
  first_ = false;
  hand_on(text, true);
}

void WordPiece::push(const DecodedChunk& chunk) {
  std::string text(chunk.text);
  if (!first_) {
    if (text.starts_with(prefix_)) {
      text.erase(0, prefix_.size());
    } else {
      text.insert(0, " ");
    }
  }
  first_ = false;
  hand_on(cleanup_ ? tidy_spaces(std::move(text)) : text, true);
}

void WordSuffix::emit(const std::string& gap) {
  if (!holds_) return;
  if (!suffix_.empty()) replace_all(held_, suffix_, gap);
  hand_on(held_, true);
  holds_ = false;
}

void WordSuffix::push(const DecodedChunk& chunk) {
  emit(" ");
  held_ = chunk.text;
  holds_ = true;
}

void WordSuffix::flush() { emit(""); }

void Ctc::push(const DecodedChunk& chunk) {
  if (any_ && chunk.text == last_) return;
  any_ = true;
  last_ = chunk.text;
  std::string text = last_;
  if (!pad_.empty()) replace_all(text, pad_, "");
  if (cleanup_) {
    text = tidy_spaces(std::move(text));
    if (!delimiter_.empty()) replace_all(text, delimiter_, " ");
  }
  if (!text.empty()) hand_on(text, true);
}

void Spm::show(std::string_view text) {
  if (text.empty()) return;
  any_text_ = true;
  hand_on(text, true);
}

void Spm::emit_bytes(bool all) {
  if (bytes_.empty()) return;
  std::string text;
  take_characters(bytes_, all, text);
  show(text);
}

void Spm::push(const DecodedChunk& chunk) {
  const SpmDecoderOptions& o = *options_;
  const auto id = static_cast<size_t>(chunk.id);
  if (id < o.byte.size() && o.byte[id] >= 0) {
    bytes_ += static_cast<char>(o.byte[id]);
    emit_bytes(false);
    return;
  }
  emit_bytes(true);
  if (front_space_seen_ || any_text_) at_front_ = false;
  front_space_seen_ = false;
  if (id < o.hidden.size() && o.hidden[id]) return;
  if (chunk.id == o.unk) return show(o.unk_surface);
  std::string_view piece = chunk.text;
  if (at_front_ && o.strips_first_space && piece.starts_with(kMark)) {
    piece.remove_prefix(kMark.size());
    front_space_seen_ = !o.strips_all_leading;
  }
  std::string text(piece);
  replace_all(text, kMark, " ");
  show(text);
}

void Spm::flush() { emit_bytes(true); }

}  // namespace mneme::decode
