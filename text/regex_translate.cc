// Oniguruma (Ruby syntax) to PCRE2.
#include <memory>
#include <vector>

#include "base/error.h"
#include "text/regex.h"

namespace mneme {
namespace {

constexpr std::string_view kWordItems = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

// A character class: the intersection of operands, each a union of items and nested classes.
struct CharClass {
  struct Operand {
    std::string items;  // in PCRE2's syntax
    std::vector<CharClass> nested;
  };
  bool negated = false;
  std::vector<Operand> operands = {Operand()};
};

std::string one_of(const CharClass::Operand& operand);

std::string to_pcre2(const CharClass& c) {
  if (c.operands.size() == 1 && c.operands[0].nested.empty()) {
    const std::string& items = c.operands[0].items;
    if (items.empty()) return c.negated ? "(?s:.)" : "(?!)";
    return (c.negated ? "[^" : "[") + items + "]";
  }
  std::string positive;
  for (size_t i = 0; i + 1 < c.operands.size(); ++i) positive += "(?=" + one_of(c.operands[i]) + ")";
  positive += one_of(c.operands.back());
  return c.negated ? "(?:(?!" + positive + ")(?s:.))" : "(?:" + positive + ")";
}

std::string one_of(const CharClass::Operand& operand) {
  std::string out;
  if (!operand.items.empty()) out = "[" + operand.items + "]";
  for (const CharClass& c : operand.nested) out += (out.empty() ? "" : "|") + to_pcre2(c);
  return "(?:" + (out.empty() ? "(?!)" : out) + ")";
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Kind::input, where_ + ": the pattern " + std::string(in_) + " has " + what);
  }
  bool ahead(std::string_view s) const { return in_.substr(at_, s.size()) == s; }

  void step() {
    const char c = in_[at_];
    if (c == '\\') {
      atom_ = out_.size();
      out_ += escape(false);
    } else if (c == '[') {
      atom_ = out_.size();
      ++at_;
      out_ += to_pcre2(char_class(0));
    } else if (c == '(') {
      groups_.push_back(out_.size());
      open_group();
    } else if (c == ')') {
      if (!groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      out_ += in_[at_++];
    } else if (c == '{') {
      interval();
    } else {
      // A quantifier belongs to the atom before it.
      if (c != '*' && c != '+' && c != '?' && (static_cast<unsigned char>(c) & 0xC0) != 0x80) {
        atom_ = out_.size();
      }
      out_ += in_[at_++];
    }
  }

  // (?m:...) is Ruby's name for PCRE2's (?s:...).
  void open_group() {
    out_ += in_[at_++];
    if (!ahead("?")) return;
    const size_t end = in_.find_first_not_of("imx-", at_ + 1);
    if (end == std::string_view::npos || end == at_ + 1 || (in_[end] != ':' && in_[end] != ')')) return;
    for (; at_ < end; ++at_) out_ += in_[at_] == 'm' ? 's' : in_[at_];
  }

  // {n,m}+ repeats the repetition in Ruby and is possessive in PCRE2; {,m} is {0,m} in Ruby, text in PCRE2.
  void interval() {
    const size_t end = in_.find('}', at_);
    const std::string_view body =
        end == std::string_view::npos ? std::string_view() : in_.substr(at_ + 1, end - at_ - 1);
    const bool quantifier = body.find_first_of("0123456789") != std::string_view::npos &&
                            body.find_first_not_of("0123456789,") == std::string_view::npos &&
                            body.find(',') == body.rfind(',');
    if (!quantifier) {
      atom_ = out_.size();
      out_ += "\\{";
      ++at_;
      return;
    }
    out_ += std::string(body.front() == ',' ? "{0" : "{") + std::string(body) + "}";
    at_ = end + 1;
    if (ahead("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  static bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

  // An escape as PCRE2 writes it, inside a class or outside. \W and \H inside a class are handled there.
  std::string escape(bool in_class) {
    if (at_ + 1 >= in_.size()) fail("a backslash at its end");
    const char kind = in_[at_ + 1];
    at_ += 2;
    const auto set = [in_class](std::string_view items, bool negated = false) {
      if (in_class) return std::string(items);
      return (negated ? "[^" : "[") + std::string(items) + "]";
    };
    switch (kind) {
      case 's':
        return "\\p{White_Space}";
      case 'S':
        return "\\P{White_Space}";
      case 'd':
        return "\\p{Nd}";
      case 'D':
        return "\\P{Nd}";
      case 'w':
        return set(kWordItems);
      case 'W':
        return set(kWordItems, true);
      case 'h':
        return set("0-9A-Fa-f");
      case 'H':
        return set("0-9A-Fa-f", true);
      case 'u':
        if (at_ + 4 <= in_.size() && is_hex(in_[at_]) && is_hex(in_[at_ + 1]) && is_hex(in_[at_ + 2]) &&
            is_hex(in_[at_ + 3])) {
          at_ += 4;
          return "\\x{" + std::string(in_.substr(at_ - 4, 4)) + "}";
        }
        fail("a \\u without four hexadecimal digits");
      case 'p':
      case 'P':
      case 'x': {
        std::string out = {'\\', kind};
        if (!ahead("{")) return out;
        const size_t end = in_.find('}', at_);
        if (end == std::string_view::npos) fail("a brace that stays open");
        out += in_.substr(at_, end + 1 - at_);
        at_ = end + 1;
        return out;
      }
      default: {
        // A character of several bytes after the backslash is copied whole.
        std::string out = {'\\', kind};
        if (static_cast<unsigned char>(kind) >= 0x80) {
          out = kind;
          while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) out += in_[at_++];
        }
        return out;
      }
    }
  }

  CharClass char_class(int depth) {
    if (depth > 20) fail("character classes nested too deeply");
    CharClass out;
    if (ahead("^")) {
      out.negated = true;
      ++at_;
    }
    for (bool first = true; at_ < in_.size(); first = false) {
      const char c = in_[at_];
      CharClass::Operand& operand = out.operands.back();
      if (c == ']' && !first) {
        ++at_;
        return out;
      }
      if (c == '[' && ahead("[:")) {
        const size_t end = in_.find(":]", at_);
        if (end == std::string_view::npos) fail("a POSIX bracket that stays open");
        operand.items += in_.substr(at_, end + 2 - at_);
        at_ = end + 2;
      } else if (c == '[') {
        ++at_;
        add_nested(operand, char_class(depth + 1));
      } else if (ahead("&&")) {
        at_ += 2;
        out.operands.emplace_back();
      } else if (ahead("\\W") || ahead("\\H")) {
        CharClass complement;
        complement.negated = true;
        complement.operands[0].items = ahead("\\W") ? kWordItems : "0-9A-Fa-f";
        at_ += 2;
        operand.nested.push_back(std::move(complement));
      } else if (c == '\\') {
        operand.items += escape(true);
      } else {
        if (c == '^' || c == ']') operand.items += '\\';
        operand.items += c;
        ++at_;
      }
    }
    fail("a character class that stays open");
  }

  static void add_nested(CharClass::Operand& operand, CharClass nested) {
    if (!nested.negated && nested.operands.size() == 1) {
      operand.items += nested.operands[0].items;
      for (CharClass& c : nested.operands[0].nested) operand.nested.push_back(std::move(c));
    } else {
      operand.nested.push_back(std::move(nested));
    }
  }

  std::string_view in_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0, atom_ = 0;
  std::vector<size_t> groups_;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace mneme
