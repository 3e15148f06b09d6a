// Chat templates: the small Jinja programs that models bring along to turn a conversation into the text they
// were trained on. This runs them with the names that transformers gives them (messages, tools, bos_token,
// ..., raise_exception, strftime_now) and tells which bytes came from {% generation %} blocks, for loss
// masks.
//
// Not a general Jinja: there are no other templates to include, and nothing a template does can reach outside
// or run for long. The language is in jinja_*.h; what deviates from the original is said there.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_budget.h"
#include "text/jinja_interpreter.h"

namespace mneme {

struct ChatOptions {
  nlohmann::ordered_json tools = nullptr;  // a list of schemas, or null
  std::optional<std::string> bos, eos;     // absent: the names are undefined (or what the model's files say)
  std::string now;                         // "2024-07-26 12:00", with or without seconds; empty: the clock
  bool add_generation_prompt = false;
  nlohmann::ordered_json variables =
      nlohmann::ordered_json::object();  // more names; they override the others
  jinja::Limits limits;
};

struct ChatText {
  std::string text;
  std::vector<jinja::Span> generated;  // bytes that generation blocks wrote, in order
};

class ChatTemplate {
 public:
  // Throws Error{input} with the line for a template that cannot be parsed.
  explicit ChatTemplate(std::string source, std::string name = "chat template");

  // From a file with the template itself, a tokenizer_config.json, or a model folder; special tokens found
  // beside it become variables. Of several named templates it takes "default", or "tool_use" if there are
  // tools.
  static ChatTemplate open(const std::string& path, bool with_tools = false);

  // The text of a special token, "bos_token" say, where the model's files did not give it.
  void set_token(const std::string& name, std::string text);

  // A template that cannot run throws Error{input} with the line it failed on. Safe to call from many
  // threads.
  std::string render(const nlohmann::ordered_json& messages, const ChatOptions& options = {}) const;
  ChatText render_marked(const nlohmann::ordered_json& messages, const ChatOptions& options = {}) const;
  const std::string& source() const { return source_; }
  bool marks_generation() const { return marks_generation_; }  // whether it has generation blocks at all

 private:
  ChatText run(const nlohmann::ordered_json& messages, const ChatOptions& options, bool marks) const;

  std::string source_, name_;
  std::shared_ptr<const jinja::Body> body_;
  bool marks_generation_ = false;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
};

// JSON with the order of its keys kept, as templates print them. Throws Error{input}; nesting is bounded.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& name);

}  // namespace mneme
