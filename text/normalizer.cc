#include "text/normalizer.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "text/byte_glyphs.h"
#include "text/charsmap.h"
#include "text/json_fields.h"
#include "text/replacement.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace mneme {
namespace {

using nlohmann::json;

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(std::string& text, bool& front_lost) const override {
    for (const auto& part : parts_) part->apply(text, front_lost);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  void apply(std::string& text, bool&) const override {
    if (!is_ascii(text)) text = normalize_unicode(text, form_);
  }

 private:
  NormalForm form_;
};

// Rewrites a text character by character: `rewrite(c, out)` appends what becomes of c, nothing to drop it.
template <class Rewrite>
void each_rune(std::string& text, bool& front_lost, Rewrite rewrite) {
  std::string out;
  out.reserve(text.size());
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const Rune r = decode_valid_rune(p);
    rewrite(r.code, std::string_view(p, r.size), out);
    p += r.size;
    if (out.empty()) front_lost = true;
  }
  text = std::move(out);
}

void lowercase(std::string& text) {
  if (is_ascii(text)) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return;
  }
  bool unused = false;
  each_rune(text, unused, [](char32_t c, std::string_view, std::string& out) { append_lowercase(out, c); });
}

class Lowercase final : public Normalizer {
 public:
  void apply(std::string& text, bool&) const override { lowercase(text); }
};

class StripAccents final : public Normalizer {
 public:
  void apply(std::string& text, bool& front_lost) const override {
    if (is_ascii(text)) return;
    each_rune(text, front_lost, [](char32_t c, std::string_view s, std::string& out) {
      if (!is_mark(c)) out += s;
    });
  }
};

class Nmt final : public Normalizer {
 public:
  void apply(std::string& text, bool& front_lost) const override {
    each_rune(text, front_lost, [](char32_t c, std::string_view s, std::string& out) {
      const bool dropped =
          (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xFEFF || c == kReplacement;
      if (!dropped) out += space ? std::string_view(" ") : s;
    });
  }
};

class Bert final : public Normalizer {
 public:
  Bert(bool clean, bool cjk, bool strip, bool lower)
      : clean_(clean), cjk_(cjk), strip_(strip), lower_(lower) {}
  void apply(std::string& text, bool& front_lost) const override {
    if (clean_) clean(text, front_lost);
    const bool ascii = is_ascii(text);
    if (cjk_ && !ascii) {
      each_rune(text, front_lost, [](char32_t c, std::string_view s, std::string& out) {
        if (is_cjk_ideograph(c)) {
          out.append(" ").append(s).append(" ");
        } else {
          out += s;
        }
      });
    }
    if (strip_ && !ascii) {
      text = normalize_unicode(text, NormalForm::nfd);
      each_rune(text, front_lost, [](char32_t c, std::string_view s, std::string& out) {
        if (!is_nonspacing_mark(c)) out += s;
      });
    }
    if (lower_) lowercase(text);
  }

 private:
  static void clean(std::string& text, bool& front_lost) {
    each_rune(text, front_lost, [](char32_t c, std::string_view s, std::string& out) {
      const bool line = c == '\t' || c == '\n' || c == '\r';
      if (c == 0 || c == kReplacement || (is_control(c) && !line)) return;
      out += is_white_space(c) ? std::string_view(" ") : s;
    });
  }
  bool clean_, cjk_, strip_, lower_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text, bool& front_lost) const override {
    size_t begin = 0, end = 0, last = 0;
    bool inside = !left_;
    for (size_t i = 0; i < text.size();) {
      const Rune r = decode_valid_rune(text.data() + i);
      const bool space = is_white_space(r.code);
      if (!inside && !space) {
        begin = i;
        inside = true;
      }
      i += r.size;
      if (!space) last = i;
    }
    if (!inside) begin = text.size();
    end = right_ ? std::max(last, begin) : text.size();
    if (begin > 0) front_lost = true;
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

class Replace final : public Normalizer {
 public:
  explicit Replace(Replacement replacement) : replacement_(std::move(replacement)) {}
  void apply(std::string& text, bool& front_lost) const override { replacement_.apply(text, &front_lost); }

 private:
  Replacement replacement_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text, bool&) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Glyphs final : public Normalizer {
 public:
  void apply(std::string& text, bool&) const override { text = bytes_to_glyphs(text); }
};

// The reference walks grapheme clusters: one of less than six bytes is replaced whole by the rule for its
// shortest matching prefix; where that finds none, each character is looked up by itself.
class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(Charsmap map) : map_(std::move(map)) {
    for (char c = ' '; c < 0x7F; ++c) {
      const auto match = map_.shortest_prefix({&c, 1});
      kept_[static_cast<int>(c)] = match.size == 0 || match.replacement == std::string_view(&c, 1);
    }
  }
  void apply(std::string& text, bool& front_lost) const override {
    if (map_.empty()) return;
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      // A printable ASCII character before another is a cluster of its own.
      if (is_kept(text[i]) && (i + 1 == text.size() || (text[i + 1] >= ' ' && text[i + 1] < 0x7F))) {
        out += text[i++];
        continue;
      }
      const size_t size = grapheme_size(std::string_view(text).substr(i));
      append_cluster(std::string_view(text).substr(i, size), out);
      i += size;
      if (out.empty()) front_lost = true;
    }
    text = std::move(out);
  }

 private:
  bool is_kept(char c) const { return c >= ' ' && kept_[static_cast<int>(c)]; }
  void append_cluster(std::string_view cluster, std::string& out) const {
    if (cluster.size() < 6) {
      if (const auto match = map_.shortest_prefix(cluster); match.size != 0) {
        out += match.replacement;
        return;
      }
    }
    while (!cluster.empty()) {
      const std::string_view c = cluster.substr(0, rune_size(cluster[0]));
      const auto match = map_.shortest_prefix(c);
      out += match.size != 0 ? match.replacement : c;
      cluster.remove_prefix(c.size());
    }
  }
  Charsmap map_;
  std::array<bool, 128> kept_ = {};  // printable ASCII that the map leaves as it is
};

std::string decode_base64_field(const json& config, const std::string& where) {
  const std::string text = field_text(config, "precompiled_charsmap", "", where);
  std::string out;
  if (!decode_base64(text, out)) {
    throw Error(Kind::input, where + ": 'precompiled_charsmap' is not base64");
  }
  return out;
}

std::unique_ptr<Normalizer> make(const json& config, const std::string& where, int depth);

std::unique_ptr<Normalizer> make_sequence(const json& config, const std::string& where, int depth) {
  if (depth > 20) throw Error(Kind::input, where + ": normalizers nested more than 20 deep");
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const json& part : required_list(config, "normalizers", where)) {
    if (auto made = make(part, where, depth + 1)) parts.push_back(std::move(made));
  }
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}

std::unique_ptr<Normalizer> make(const json& config, const std::string& where, int depth) {
  if (config.is_null()) return nullptr;
  const std::string type = required_text(config, "type", where);
  if (type == "Sequence") return make_sequence(config, where, depth);
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(NormalForm::nfc);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(NormalForm::nfd);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(NormalForm::nfkc);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(NormalForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<Glyphs>();
  if (type == "Replace") return std::make_unique<Replace>(Replacement::from_json(config, where));
  if (type == "Prepend") return std::make_unique<Prepend>(required_text(config, "prepend", where));
  if (type == "Precompiled") {
    return std::make_unique<Precompiled>(Charsmap(decode_base64_field(config, where), where));
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(field_bool(config, "strip_left", true, where),
                                   field_bool(config, "strip_right", true, where));
  }
  if (type == "BertNormalizer") {
    const bool lower = field_bool(config, "lowercase", true, where);
    return std::make_unique<Bert>(field_bool(config, "clean_text", true, where),
                                  field_bool(config, "handle_chinese_chars", true, where),
                                  field_bool(config, "strip_accents", lower, where), lower);
  }
  throw Error(Kind::input, where + ": the normalizer '" + type + "' is not known");
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const json& config, const std::string& where) {
  return make(config, where, 0);
}

}  // namespace mneme
