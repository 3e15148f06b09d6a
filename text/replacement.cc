#include "text/replacement.h"

#include "text/json_fields.h"

namespace mneme {

using nlohmann::json;

Replacement Replacement::from_json(const json& config, const std::string& where) {
  const json& pattern = member(config, "pattern");
  Replacement out("", required_text(config, "content", where));
  if (pattern.is_string()) {
    out.from_ = pattern.get<std::string>();
  } else if (const json& regex = member(pattern, "Regex"); regex.is_string()) {
    out.regex_.emplace(regex.get<std::string>(), where);
  } else {
    out.from_ = required_text(pattern, "String", where);
  }
  return out;
}

void Replacement::apply(std::string& text, bool* front_lost) const {
  if (regex_) return apply_regex(text, front_lost);
  if (from_.empty()) return;
  size_t at = text.find(from_);
  if (at == std::string::npos) return;
  if (front_lost && at == 0 && to_.empty()) *front_lost = true;
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t copied = 0;
  for (; at != std::string::npos; at = text.find(from_, copied)) {
    out.append(text, copied, at - copied).append(to_);
    copied = at + from_.size();
  }
  out.append(text, copied, std::string::npos);
  text = std::move(out);
}

void Replacement::apply_regex(std::string& text, bool* front_lost) const {
  TextRegex::Iterator matches(*regex_, text);
  TextRegex::Match m;
  std::string out;
  size_t copied = 0;
  bool found = false;
  while (matches.next(m)) {
    found = true;
    out.append(text, copied, m.begin - copied).append(to_);
    copied = m.end;
    if (front_lost && out.empty() && m.end > 0) *front_lost = true;
  }
  if (!found) return;
  out.append(text, copied, std::string::npos);
  text = std::move(out);
}

}  // namespace mneme
