#include "data/records.h"

#include <algorithm>

#include "base/error.h"

namespace mneme {
namespace {

using nlohmann::ordered_json;

bool has_text(const ordered_json& record, const char* key) {
  return record.contains(key) && record[key].is_string();
}

std::string text_at(const ordered_json& record, const std::string& key, const std::string& where) {
  const auto found = record.find(key);
  if (found == record.end() || !found->is_string()) {
    throw Error(Kind::input, where + ": expected a text under \"" + key + "\"");
  }
  return found->get<std::string>();
}

bool is_conversation(const ordered_json& messages) {
  return messages.is_array() && !messages.empty() &&
         std::all_of(messages.begin(), messages.end(),
                     [](const auto& m) { return m.is_object() && has_text(m, "role"); });
}

ChatOptions chat_options(const ordered_json& tools, const RecordOptions& options) {
  ChatOptions chat;
  chat.tools = tools;
  chat.now = options.now;
  return chat;
}

// Where turn `i` stands in the whole text, by rendering the conversation up to it without and with it. A
// template may write earlier turns differently once later ones are there (and drop their reasoning, say);
// then the turn's own words are looked for.
ByteRange turn_range(const ordered_json& messages, size_t i, const std::string& whole, size_t after,
                     const ChatOptions& base, const RecordOptions& options, const std::string& where) {
  const auto prefix = [&](size_t count, bool prompt) -> std::optional<std::string> {
    ChatOptions chat = base;
    chat.add_generation_prompt = prompt;
    try {
      return options.chat->render(
          ordered_json(messages.begin(), messages.begin() + static_cast<ptrdiff_t>(count)), chat);
    } catch (const Error&) {  // some templates refuse conversations that begin or end so
      return std::nullopt;
    }
  };
  const auto with = i + 1 == messages.size() ? std::optional(whole) : prefix(i + 1, false);
  for (const bool prompt : {true, false}) {
    const auto without = prefix(i, prompt);
    if (with && without && whole.starts_with(*with) && with->starts_with(*without) &&
        without->size() >= after) {
      return {without->size(), with->size()};
    }
  }
  const auto content = messages[i].find("content");
  if (content != messages[i].end() && content->is_string() &&
      !content->get_ref<const std::string&>().empty()) {
    const auto& words = content->get_ref<const std::string&>();
    const size_t found = whole.find(words, after);
    if (found != std::string::npos) return {found, found + words.size()};
  }
  throw Error(Kind::input,
              where + ": message " + std::to_string(i + 1) + " cannot be found in the rendered conversation",
              "use a chat template with {% generation %} blocks, or train on everything");
}

std::string instruction_prompt(const std::string& instruction, const std::string& input) {
  std::string prompt = "### Instruction:\n" + instruction + "\n\n";
  if (!input.empty()) prompt += "### Input:\n" + input + "\n\n";
  return prompt + "### Response:\n";
}

Document completion(std::string prompt, const std::string& answer, const RecordOptions& options) {
  Document document;
  document.masked = !options.train_all;
  document.text = std::move(prompt);
  const size_t begin = document.text.size();
  document.text += answer;
  if (document.masked) document.trained.push_back({begin, document.text.size()});
  return document;
}

ordered_json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

Document read_completion(const ordered_json& record, const RecordOptions& options, const std::string& where) {
  if (!is_conversation(record["prompt"])) {
    return completion(text_at(record, "prompt", where), text_at(record, "completion", where), options);
  }
  ordered_json messages = record["prompt"];
  if (record["completion"].is_string()) {
    messages.push_back(message("assistant", record["completion"].get<std::string>()));
  } else if (is_conversation(record["completion"])) {
    for (const auto& turn : record["completion"]) messages.push_back(turn);
  } else {
    throw Error(Kind::input, where + ": expected \"completion\" as a text or a list of messages");
  }
  Document document = render_conversation(messages, record.value("tools", ordered_json()), options, where);
  if (!document.masked) return document;
  // Answers within the prompt are history, not what is to be learnt.
  const size_t answers = static_cast<size_t>(
      std::count_if(messages.begin() + static_cast<ptrdiff_t>(record["prompt"].size()), messages.end(),
                    [](const auto& turn) { return turn["role"] == "assistant"; }));
  if (document.trained.size() > answers) {
    document.trained.erase(document.trained.begin(),
                           document.trained.end() - static_cast<ptrdiff_t>(answers));
  }
  return document;
}

Document read_instruction(const ordered_json& record, const RecordOptions& options,
                          const std::string& where) {
  const std::string instruction = text_at(record, "instruction", where),
                    output = text_at(record, "output", where);
  const std::string input = has_text(record, "input") ? text_at(record, "input", where) : "";
  if (!options.chat) return completion(instruction_prompt(instruction, input), output, options);
  ordered_json messages = ordered_json::array();
  messages.push_back(message("user", input.empty() ? instruction : instruction + "\n\n" + input));
  messages.push_back(message("assistant", output));
  return render_conversation(messages, nullptr, options, where);
}

std::vector<int64_t> integers_at(const ordered_json& record, const char* key, const std::string& where) {
  std::vector<int64_t> numbers;
  for (const auto& number : record[key]) {
    if (!number.is_number_integer())
      throw Error(Kind::input, where + ": expected integers under \"" + key + "\"");
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

Document read_ids(const ordered_json& record, const RecordOptions& options, const std::string& where) {
  Document document;
  for (const int64_t id : integers_at(record, "ids", where)) {
    if (id < 0 || id > INT32_MAX)
      throw Error(Kind::input, where + ": " + std::to_string(id) + " is no token id");
    document.ids.push_back(static_cast<int32_t>(id));
  }
  if (!record.contains("labels") || options.train_all) return document;
  const auto labels = integers_at(record, "labels", where);
  const size_t size = document.ids.size();
  if (labels.size() != size) throw Error(Kind::input, where + ": expected one label for each of the ids");
  document.counts.assign(size, 0);
  for (size_t t = 0; t < size; ++t) {
    if (labels[t] == -100) continue;
    if (t + 1 == size || labels[t] != document.ids[t + 1]) {
      throw Error(Kind::input, where + ": label " + std::to_string(t) + " is not the id that follows");
    }
    document.counts[t + 1] = 1;
  }
  return document;
}

}  // namespace

std::string name_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::text:
      return "text";
    case RecordKind::completion:
      return "prompt and completion";
    case RecordKind::instruction:
      return "instruction and output";
    case RecordKind::messages:
      return "messages";
    case RecordKind::ids:
      return "token ids";
  }
  return "";
}

std::optional<RecordKind> kind_of(const ordered_json& record, const RecordOptions& options) {
  if (!record.is_object()) return std::nullopt;
  if (record.contains("messages") && is_conversation(record["messages"])) return RecordKind::messages;
  if (record.contains("prompt") && record.contains("completion")) return RecordKind::completion;
  if (record.contains("ids") && record["ids"].is_array()) return RecordKind::ids;
  if (has_text(record, "instruction") && has_text(record, "output")) return RecordKind::instruction;
  if (has_text(record, options.text_key.c_str())) return RecordKind::text;
  return std::nullopt;
}

Document render_conversation(const ordered_json& messages, const ordered_json& tools,
                             const RecordOptions& options, const std::string& where) {
  if (!options.chat) {
    throw Error(Kind::input, where + ": messages need a chat template",
                "give --chat, or a tokenizer that has a template");
  }
  const ChatOptions chat = chat_options(tools, options);
  Document document;
  document.add_special = document.add_end = false;
  document.masked = !options.train_all;
  if (options.chat->marks_generation() || options.train_all) {
    ChatText rendered = options.chat->render_marked(messages, chat);
    document.text = std::move(rendered.text);
    if (document.masked) {
      for (const auto& span : rendered.generated) document.trained.push_back({span.begin, span.end});
    }
    return document;
  }
  document.text = options.chat->render(messages, chat);
  size_t after = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i]["role"] != "assistant") continue;
    const ByteRange range = turn_range(messages, i, document.text, after, chat, options, where);
    document.trained.push_back(range);
    after = range.end;
  }
  return document;
}

Document read_record(const ordered_json& record, const RecordOptions& options, const std::string& where) {
  const auto kind = kind_of(record, options);
  if (!kind) {
    throw Error(
        Kind::input, where + ": a record of no known shape",
        "expected \"" + options.text_key + "\", prompt and completion, instruction and output, or messages");
  }
  Document document;
  switch (*kind) {
    case RecordKind::text:
      document.text = text_at(record, options.text_key, where);
      break;
    case RecordKind::completion:
      document = read_completion(record, options, where);
      break;
    case RecordKind::instruction:
      document = read_instruction(record, options, where);
      break;
    case RecordKind::messages:
      document =
          render_conversation(record["messages"], record.value("tools", ordered_json()), options, where);
      break;
    case RecordKind::ids:
      document = read_ids(record, options, where);
      break;
  }
  document.where = where;
  return document;
}

}  // namespace mneme
