#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "io/adapter.h"

namespace mneme {
namespace {

constexpr uint32_t kMatchLimit = 100'000;  // paths are short; only a hostile pattern gets there

struct Marker {
  const char* text;
  PeftName::Part part;
};
constexpr std::array<Marker, 4> kMarkers{{{".lora_A.", PeftName::Part::lora_a},
                                          {".lora_B.", PeftName::Part::lora_b},
                                          {".lora_embedding_A.", PeftName::Part::embedding_a},
                                          {".lora_embedding_B.", PeftName::Part::embedding_b}}};

// What may follow a marker: "weight", "default.weight" with the adapter's name, "default" or nothing
// (embeddings).
bool is_tail(std::string tail, bool embedding) {
  if (!embedding) {
    if (tail == "weight.") return true;
    if (!tail.ends_with(".weight.")) return false;
    tail.resize(tail.size() - 7);
  }
  return tail.empty() || tail.find('.') == tail.size() - 1;
}

// Removes ".base_layer", ".modules_to_save.default" and the like from within a name.
bool erase_part(std::string& name, const std::string& part, bool with_next) {
  const size_t at = name.find(part);
  if (at == std::string::npos) return false;
  size_t end = at + part.size() - 1;  // keeps the closing dot
  if (with_next) {
    const size_t dot = name.find('.', end + 1);
    if (dot != std::string::npos) end = dot;
  }
  name.erase(at, end - at);
  return true;
}

}  // namespace

PeftName parse_peft_name(const std::string& name) {
  PeftName out;
  out.path = name;
  constexpr std::string_view kPrefix = "base_model.model.";
  if (out.path.rfind(kPrefix, 0) == 0) out.path.erase(0, kPrefix.size());
  const std::string closed = out.path + ".";
  for (const Marker& marker : kMarkers) {
    const size_t at = closed.rfind(marker.text);
    if (at == std::string::npos) continue;
    const bool embedding =
        marker.part == PeftName::Part::embedding_a || marker.part == PeftName::Part::embedding_b;
    if (!is_tail(closed.substr(at + std::string_view(marker.text).size()), embedding)) continue;
    out.part = marker.part;
    out.path.resize(at);
    return out;
  }
  if (erase_part(out.path, ".original_module.", false)) {
    out.part = PeftName::Part::original;
  } else if (!erase_part(out.path, ".base_layer.", false)) {
    erase_part(out.path, ".modules_to_save.", true);
  }
  return out;
}

bool peft_pattern_matches(const std::string& pattern, const std::string& path) {
  const std::string whole = "^(?:.*\\.)?(?:" + pattern + ")$";
  int code = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> compiled(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(whole.data()), whole.size(), PCRE2_DOLLAR_ENDONLY, &code,
                    &offset, nullptr),
      pcre2_code_free);
  if (!compiled) {
    throw Error(Kind::input, "'" + pattern + "' in adapter_config.json is not a regular expression");
  }
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(compiled.get(), nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  const int found = pcre2_match(compiled.get(), reinterpret_cast<PCRE2_SPTR>(path.data()), path.size(), 0, 0,
                                data.get(), context.get());
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
    throw Error(Kind::input, "the pattern '" + pattern + "' in adapter_config.json takes too long to match");
  }
  return found >= 0;
}

}  // namespace mneme
