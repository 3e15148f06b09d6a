// One JSON record of a training file as a document with what of it is trained. Four shapes, known by their
// keys:
//
//   {"text": "..."}                                            all of it
//   {"prompt": "...", "completion": "..."}                     the completion; both may be lists of messages
//   {"instruction": "...", "input": "...", "output": "..."}    the output; input may be absent
//   {"messages": [{"role": "user", "content": "..."}, ...]}    what the assistant says; "tools" may stand by
//
// Messages go through a chat template. What the assistant says is what its generation blocks wrote; a
// template without such blocks is asked turn by turn, and the text that a turn adds after its generation
// prompt counts.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data/document.h"
#include "text/chat_template.h"

namespace mneme {

enum class RecordKind { text, completion, instruction, messages, ids };
std::string name_of(RecordKind kind);

struct RecordOptions {
  const ChatTemplate* chat = nullptr;  // needed for messages; used for instructions if there is one
  std::string text_key = "text";
  std::string now = "2024-01-01 00:00";  // for templates that print the date: the same text on every day
  bool train_all = false;                // no mask: everything counts
};

// Nothing if no shape fits.
std::optional<RecordKind> kind_of(const nlohmann::ordered_json& record, const RecordOptions& options);

// `where` names the record in errors, which are Error{input}.
Document read_record(const nlohmann::ordered_json& record, const RecordOptions& options,
                     const std::string& where);

// The conversation as text, with the ranges that the assistant wrote.
Document render_conversation(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                             const RecordOptions& options, const std::string& where);

}  // namespace mneme
