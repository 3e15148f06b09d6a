#include "infer/chat.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

using Json = nlohmann::ordered_json;

bool is_exchange(const Json& messages) {
  return messages.size() >= 2 && messages.back().at("role") == "assistant";
}

Json checked_messages(const Json& messages) {
  const bool fits = messages.is_array() && std::all_of(messages.begin(), messages.end(), [](const Json& m) {
                      return m.is_object() && m.contains("role") && m.at("role").is_string() &&
                             m.contains("content") && m.at("content").is_string();
                    });
  if (!fits) throw Error(Kind::input, "the session's conversation is no list of messages");
  return messages;
}

}  // namespace

// What the model says begins with a space of its own, or not.
const char* const kPlainChatTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role | capitalize }}:{{ '' if m.role == 'assistant' else ' ' "
    "}}"
    "{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

Chat::Chat(Session session, std::shared_ptr<const Tokenizer> tokenizer, ChatTemplate chat_template,
           const std::string& system)
    : session_(std::move(session)),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      messages_(Json::array()) {
  const Json& saved = session_.extra;
  if (saved.is_object() && saved.contains("messages")) {
    messages_ = checked_messages(saved.at("messages"));
    rendered_ = saved.value("rendered", "");
    return;
  }
  if (!session_.text().empty()) {
    throw Error(Kind::input, "the session holds a text that is no conversation",
                "go on with it by mneme generate --session, or take another file");
  }
  if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
}

// What the session has read stays as its own tokens, if the new part's tokens are those that the whole text
// would have there; else the whole text's tokens.
std::vector<int64_t> Chat::ids_of(const std::string& text) const {
  const std::vector<int32_t> whole = tokenizer_->encode(text, /*add_special=*/false);
  if (!rendered_.empty() && text.rfind(rendered_, 0) == 0) {
    const std::vector<int32_t> more =
        tokenizer_->encode(text.substr(rendered_.size()), /*add_special=*/false);
    const bool same_end =
        more.size() <= whole.size() && std::equal(more.rbegin(), more.rend(), whole.rbegin());
    if (same_end) {
      std::vector<int64_t> ids = session_.text();
      ids.insert(ids.end(), more.begin(), more.end());
      return ids;
    }
  }
  return {whole.begin(), whole.end()};
}

Completion Chat::say(const std::string& said, const std::vector<int64_t>& end_ids,
                     const GenerateOptions& options, uint64_t seed, const GenerateHooks& hooks) {
  Json messages = messages_;
  messages.push_back({{"role", "user"}, {"content", said}});
  ChatOptions how;
  how.add_generation_prompt = true;
  const std::string text = template_.render(messages, how);
  session_.remember_place();
  session_.set_text(ids_of(text));
  const Completion c = session_.go_on({}, end_ids, options, seed, hooks);
  messages.push_back({{"role", "assistant"}, {"content", c.text}});
  messages_ = std::move(messages);
  // A stop text is in the session's tokens and not in the answer: then the next turn compares token by token.
  rendered_ = c.reason == "stop" ? "" : text + c.text;
  if (c.reason == "end") {
    const int32_t id = static_cast<int32_t>(c.ids.back());
    rendered_ += tokenizer_->decode(std::span<const int32_t>(&id, 1), /*skip_special=*/false);
  }
  note();
  return c;
}

void Chat::note() { session_.extra = {{"messages", messages_}, {"rendered", rendered_}}; }

bool Chat::undo() {
  if (!is_exchange(messages_)) return false;
  messages_.erase(messages_.end() - 2, messages_.end());
  rendered_.clear();  // the next turn finds the common beginning
  note();
  return true;
}

void Chat::reset() {
  const bool system = !messages_.empty() && messages_.front().at("role") == "system";
  const Json first = system ? messages_.front() : Json();
  messages_ = Json::array();
  if (system) messages_.push_back(first);
  rendered_.clear();
  session_.set_text({});
  note();
}

}  // namespace mneme
