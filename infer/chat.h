// A conversation: messages, the template that turns them into text, and the session that has read it. Only
// what is new is read; undo goes back to where the session was, or to the last segment end before it. What a
// turn leaves in the memory cannot be taken out again, so undo never subtracts: it starts from an earlier
// state.
#pragma once

#include <functional>
#include <string>

#include "infer/session.h"
#include "text/chat_template.h"

namespace mneme {

// For models that bring none: "User: ...\nAssistant: ...".
extern const char* const kPlainChatTemplate;

class Chat {
 public:
  // The conversation that the session holds goes on; `system` begins a new one, if not empty.
  Chat(Session session, std::shared_ptr<const Tokenizer> tokenizer, ChatTemplate chat_template,
       const std::string& system);

  Completion say(const std::string& text, const std::vector<int64_t>& end_ids, const GenerateOptions& options,
                 uint64_t seed, const GenerateHooks& hooks = {});
  bool undo();   // the last exchange; false: there is none
  void reset();  // all but the system's message
  void save(const std::string& path) { session_.save(path); }

  const nlohmann::ordered_json& messages() const { return messages_; }
  const Session& session() const { return session_; }

 private:
  std::optional<std::vector<int64_t>> ids_behind(const std::string& text) const;
  void note();

  Session session_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate template_;
  nlohmann::ordered_json messages_;
  std::string rendered_;  // the text that the session's tokens stand for
  // Before each exchange that was added behind the last: how many tokens, how much of `rendered_`.
  struct Turn {
    int64_t tokens, rendered;
  };
  std::vector<Turn> turns_;
};

}  // namespace mneme
