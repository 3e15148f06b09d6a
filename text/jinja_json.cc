// json.dumps, as the `tojson` of chat templates calls it: no HTML escapes, unlike Jinja's own.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_unicode.h"

namespace mneme::jinja {
namespace {

class Dump {
 public:
  explicit Dump(const JsonStyle& style) : style_(style) {}

  std::string take() { return std::move(out_); }

  void value(const Value& v, int level) {
    spend(32);
    if (out_.size() > reserved_) reserve(1, reserved_ = out_.size() * 2);
    if (v.is_none()) {
      out_ += "null";
    } else if (v.boolean()) {
      out_ += *v.boolean() ? "true" : "false";
    } else if (v.integer()) {
      out_ += std::to_string(*v.integer());
    } else if (v.real()) {
      out_ += number(*v.real());
    } else if (v.text()) {
      text(v.text()->bytes);
    } else if (v.sequence() && v.sequence()->kind <= Sequence::Kind::tuple) {
      list(*v.sequence(), level);
    } else if (v.mapping()) {
      map(*v.mapping(), level);
    } else {
      fail("Object of type " + v.type_name() + " is not JSON serializable");
    }
  }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return show_real(value);
  }

  void unit(uint32_t code) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", code);
    out_ += buffer;
  }

  void text(std::string_view bytes) {
    spend(bytes.size() * 4);
    out_ += '"';
    for (size_t at = 0, size = 0; at < bytes.size(); at += size) {
      uint32_t point = point_at(bytes, at, &size);
      static constexpr std::string_view kShort = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
      size_t found = point < 0x80 ? kShort.find(static_cast<char>(point)) : std::string_view::npos;
      if (found != std::string_view::npos) {
        out_ += {'\\', kLetters[found]};
      } else if (point < 0x20) {
        unit(point);
      } else if (point < 0x80 || !style_.ascii) {
        out_.append(bytes.substr(at, size));
      } else if (point < 0x10000) {
        unit(point);
      } else {
        unit(0xD800 + ((point - 0x10000) >> 10));
        unit(0xDC00 + ((point - 0x10000) & 0x3FF));
      }
    }
    out_ += '"';
  }

  void line(int level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *style_.indent;
    spend(style_.indent->size() * static_cast<size_t>(level));
  }

  void list(const Sequence& sequence, int level) {
    if (sequence.items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      if (i) out_ += style_.item;
      line(level + 1);
      value(sequence.items[i], level + 1);
    }
    line(level);
    out_ += ']';
  }

  static std::string key_text(const Value& key) {
    if (key.text()) return key.text()->bytes;
    if (key.is_none()) return "null";
    if (key.boolean()) return *key.boolean() ? "true" : "false";
    if (key.integer()) return std::to_string(*key.integer());
    if (key.real()) return number(*key.real());
    fail("keys must be str, int, float, bool or None, not " + key.type_name());
  }

  void map(const Mapping& mapping, int level) {
    if (mapping.size() == 0) {
      out_ += "{}";
      return;
    }
    std::vector<Mapping::Entry> entries = mapping.entries();
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return ordered(a.first, b.first, "<"); });
    }
    out_ += '{';
    bool first = true;
    for (const auto& [key, item] : entries) {
      if (!first) out_ += style_.item;
      first = false;
      line(level + 1);
      text(key_text(key));
      out_ += style_.key;
      value(item, level + 1);
    }
    line(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  std::string out_;
  size_t reserved_ = 0;
};

}  // namespace

std::string dump_json(const Value& value, const JsonStyle& style) {
  Dump dump(style);
  dump.value(value, 0);
  return dump.take();
}

}  // namespace mneme::jinja
