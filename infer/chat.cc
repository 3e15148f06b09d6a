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
    if (saved.contains("rendered") && saved.at("rendered").is_string()) rendered_ = saved.at("rendered");
    for (const Json& t : saved.value("turns", Json::array())) {
      if (!t.is_array() || t.size() != 2 || !t[0].is_number_integer() || !t[1].is_number_integer())
        throw Error(Kind::input, "the session's turns are no pairs of numbers");
      const Turn turn{t[0].get<int64_t>(), t[1].get<int64_t>()};
      const bool fits = turn.tokens >= 0 && turn.rendered >= 0 &&
                        turn.tokens <= static_cast<int64_t>(session_.text().size()) &&
                        turn.rendered <= static_cast<int64_t>(rendered_.size());
      if (!fits) throw Error(Kind::input, "the session's turns do not fit its text");
      turns_.push_back(turn);
    }
    return;
  }
  if (!session_.text().empty()) {
    throw Error(Kind::input, "the session holds a text that is no conversation",
                "go on with it by mneme generate --session, or take another file");
  }
  if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
}

// The session's own tokens and those of what is new, if the new ones are those that the whole text would have
// there.
std::optional<std::vector<int64_t>> Chat::ids_behind(const std::string& text) const {
  if (rendered_.empty() || text.rfind(rendered_, 0) != 0) return std::nullopt;
  const std::vector<int32_t> whole = tokenizer_->encode(text, /*add_special=*/false);
  const std::vector<int32_t> more = tokenizer_->encode(text.substr(rendered_.size()), /*add_special=*/false);
  if (more.size() > whole.size() || !std::equal(more.rbegin(), more.rend(), whole.rbegin()))
    return std::nullopt;
  std::vector<int64_t> ids = session_.text();
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

Completion Chat::say(const std::string& said, const std::vector<int64_t>& end_ids,
                     const GenerateOptions& options, uint64_t seed, const GenerateHooks& hooks) {
  Json messages = messages_;
  messages.push_back({{"role", "user"}, {"content", said}});
  ChatOptions how;
  how.add_generation_prompt = true;
  const std::string text = template_.render(messages, how);
  const Turn before{static_cast<int64_t>(session_.text().size()), static_cast<int64_t>(rendered_.size())};
  session_.remember_place();
  if (const auto ids = ids_behind(text)) {
    turns_.push_back(before);
    session_.set_text(*ids);
  } else {
    const std::vector<int32_t> ids_of_all = tokenizer_->encode(text, /*add_special=*/false);
    turns_.clear();
    session_.set_text({ids_of_all.begin(), ids_of_all.end()});
  }
  rendered_.clear();  // and stays so if what follows fails
  Completion c;
  try {
    c = session_.go_on({}, end_ids, options, seed, hooks);
  } catch (...) {
    turns_.clear();
    throw;
  }
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

void Chat::note() {
  Json turns = Json::array();
  for (const Turn& t : turns_) turns.push_back({t.tokens, t.rendered});
  session_.extra = {{"messages", messages_}, {"rendered", rendered_}, {"turns", turns}};
}

bool Chat::undo() {
  if (!is_exchange(messages_)) return false;
  messages_.erase(messages_.end() - 2, messages_.end());
  if (turns_.empty()) {
    rendered_.clear();  // the next turn finds the common beginning
  } else {
    rendered_.resize(static_cast<size_t>(turns_.back().rendered));
    const std::vector<int64_t>& text = session_.text();
    session_.set_text({text.begin(), text.begin() + static_cast<std::ptrdiff_t>(turns_.back().tokens)});
    turns_.pop_back();
  }
  note();
  return true;
}

void Chat::reset() {
  const bool system = !messages_.empty() && messages_.front().at("role") == "system";
  const Json first = system ? messages_.front() : Json();
  messages_ = Json::array();
  if (system) messages_.push_back(first);
  rendered_.clear();
  turns_.clear();
  session_.set_text({});
  note();
}

}  // namespace mneme
