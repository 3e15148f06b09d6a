#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "text/utf8.h"

namespace mneme {
namespace {

std::string pcre2_message(int code) {
  char buffer[256] = {};
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(buffer), sizeof(buffer));
  return buffer;
}

// What a match needs besides the pattern; one per thread serves all patterns.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 64 << 20, nullptr);
  Workspace() {
    MNEME_CHECK(data && context && stack, "PCRE2 without memory");
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

Workspace& workspace() {
  thread_local Workspace w;
  return w;
}

}  // namespace

TextRegex::TextRegex(std::string_view pattern, const std::string& where) : where_(where) {
  const std::string translated = oniguruma_to_pcre2(pattern, where);
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  MNEME_CHECK(context != nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 100);
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &offset, context);
  pcre2_compile_context_free(context);
  if (!compiled) {
    throw Error(Kind::input, where + ": the pattern " + std::string(pattern) +
                                 " is no regular expression that is understood here: " + pcre2_message(code));
  }
  code_.reset(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  // Without JIT (a system that forbids writable code) the interpreter gives the same matches.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
}

TextRegex TextRegex::literal(std::string_view text, const std::string& where) {
  std::string quoted;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) quoted += '\\';
    quoted += c;
  }
  return {quoted, where};
}

bool TextRegex::search(std::string_view text, size_t from, Match& match) const {
  Workspace& w = workspace();
  const int code =
      pcre2_match(static_cast<const pcre2_code*>(code_.get()), reinterpret_cast<PCRE2_SPTR>(text.data()),
                  text.size(), from, PCRE2_NO_UTF_CHECK, w.data, w.context);
  if (code == PCRE2_ERROR_NOMATCH) return false;
  if (code < 0) {
    throw Error(Kind::resource, where_ + ": the tokenizer's pattern takes too long on this text (" +
                                    pcre2_message(code) + ")");
  }
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(w.data);
  match = {span[0], std::max(span[0], span[1])};  // \K in a lookahead may put the start past the end
  return true;
}

bool TextRegex::Iterator::next(Match& match) {
  while (from_ <= text_.size() && regex_.search(text_, from_, match)) {
    if (match.end == match.begin && match.end == last_end_) {
      from_ += from_ < text_.size() ? rune_size(text_[from_]) : 1;
      continue;
    }
    from_ = last_end_ = match.end;
    return true;
  }
  return false;
}

}  // namespace mneme
