#include "text/chat_template.h"

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "base/files.h"
#include "base/gguf_metadata.h"

namespace mneme {
namespace {

constexpr uint64_t kMostSource = uint64_t{16} << 20;

std::tm local_time(const std::string& now) {
  std::tm time = {};
  if (now.empty()) {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &time);
    return time;
  }
  for (const char* format : {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    time = {};
    const char* end = strptime(now.c_str(), format, &time);
    if (end && *end == 0) {
      time.tm_isdst = -1;
      std::mktime(&time);  // the day of the week and of the year
      return time;
    }
  }
  throw Error(Kind::usage, "expected a time such as \"2024-07-26 12:00\", found \"" + now + "\"");
}

bool has_generation(const jinja::Body& body) {
  return std::any_of(body.begin(), body.end(), [](const auto& s) {
    return s->kind == jinja::Stmt::Kind::generation || has_generation(s->body) || has_generation(s->other) ||
           std::any_of(s->branches.begin(), s->branches.end(),
                       [](const jinja::Branch& branch) { return has_generation(branch.body); });
  });
}

// Of tokenizer_config.json or special_tokens_map.json: every *_token that is a text or an added token.
void collect_tokens(const nlohmann::ordered_json& config,
                    std::vector<std::pair<std::string, std::string>>& tokens) {
  for (const auto& item : config.items()) {
    const std::string& key = item.key();
    const nlohmann::ordered_json* text = &item.value();
    if (text->is_object() && text->contains("content")) text = &(*text)["content"];
    const bool named = key.size() > 6 && key.compare(key.size() - 6, 6, "_token") == 0;
    const bool known =
        std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) { return token.first == key; });
    if (named && !known && text->is_string()) tokens.emplace_back(key, text->get<std::string>());
  }
}

std::optional<std::string> named_template(const nlohmann::ordered_json& value, bool with_tools,
                                          const std::string& name) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return std::nullopt;
  std::optional<std::string> chosen, names;
  for (const auto& entry : value) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template") ||
        !entry["name"].is_string() || !entry["template"].is_string()) {
      throw Error(Kind::input, name + ": expected chat templates as objects with name and template");
    }
    const auto title = entry["name"].get<std::string>();
    names = names.value_or("") + " " + title;
    if (title == "tool_use" && with_tools) return entry["template"].get<std::string>();
    if (title == "default") chosen = entry["template"].get<std::string>();
  }
  if (!chosen)
    throw Error(Kind::input, name + ": no chat template named default; found:" + names.value_or(" none"));
  return chosen;
}

struct Source {
  std::string text, name;
  std::vector<std::pair<std::string, std::string>> tokens;
};

Source from_config(const std::string& path, bool with_tools) {
  nlohmann::ordered_json config = parse_ordered_json(read_file(path, uint64_t{256} << 20), path);
  Source source;
  source.name = path;
  if (!config.is_object()) throw Error(Kind::input, path + ": expected a JSON object");
  collect_tokens(config, source.tokens);
  auto found = config.contains("chat_template") ? named_template(config["chat_template"], with_tools, path)
                                                : std::nullopt;
  if (found) source.text = *found;
  return source;
}

Source from_folder(const std::string& folder, bool with_tools) {
  Source source;
  source.name = folder;
  if (file_exists(join_path(folder, "tokenizer_config.json"))) {
    source = from_config(join_path(folder, "tokenizer_config.json"), with_tools);
  }
  if (const std::string map = join_path(folder, "special_tokens_map.json"); file_exists(map)) {
    const auto tokens = parse_ordered_json(read_file(map, kMostSource), map);
    if (tokens.is_object()) collect_tokens(tokens, source.tokens);
  }
  // Files of their own win over the configuration, as in transformers.
  std::string file = join_path(folder, "chat_template.jinja");
  const std::string tools = join_path(folder, "additional_chat_templates/tool_use.jinja");
  if (with_tools && file_exists(tools)) file = tools;
  if (file_exists(file)) {
    source.text = read_file(file, kMostSource);
    source.name = file;
  } else if (const std::string json = join_path(folder, "chat_template.json"); file_exists(json)) {
    source.text = from_config(json, with_tools).text;
    source.name = json;
  }
  return source;
}

Source from_gguf(const std::string& path) {
  const GgufMetadata metadata = GgufMetadata::load(path);
  Source source;
  source.name = path;
  source.text = metadata.text("tokenizer.chat_template").value_or("");
  const auto tokens = metadata.texts("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{});
  for (const std::string key : {"bos", "eos"}) {
    const int64_t id = metadata.integer("tokenizer.ggml." + key + "_token_id").value_or(-1);
    if (id >= 0 && id < static_cast<int64_t>(tokens.size()))
      source.tokens.emplace_back(key + "_token", tokens[static_cast<size_t>(id)]);
  }
  return source;
}

}  // namespace

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& name) {
  constexpr int kDeepest = 200;
  auto shallow = [&](int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
    if (depth > kDeepest)
      throw Error(Kind::input, name + ": JSON nested deeper than " + std::to_string(kDeepest));
    return true;
  };
  try {
    return nlohmann::ordered_json::parse(text, shallow);
  } catch (const nlohmann::json::exception& e) {
    throw Error(Kind::input, name + ": not valid JSON: " + e.what());
  }
}

ChatTemplate::ChatTemplate(std::string source, std::string name)
    : source_(std::move(source)), name_(std::move(name)) {
  if (source_.size() > kMostSource) throw Error(Kind::input, name_ + ": a template of more than 16 MB");
  try {
    body_ = std::make_shared<const jinja::Body>(jinja::parse(source_));
  } catch (const jinja::Failure& failure) {
    throw Error(Kind::input, name_ + ", " + failure.what());
  }
  marks_generation_ = has_generation(*body_);
}

ChatTemplate ChatTemplate::open(const std::string& path, bool with_tools) {
  Source source;
  if (is_folder(path)) {
    source = from_folder(path, with_tools);
  } else if (path.ends_with(".json")) {
    source = from_config(path, with_tools);
  } else if (path.ends_with(".gguf")) {
    source = from_gguf(path);
  } else {
    source = {read_file(path, kMostSource), path, {}};
    if (source.text.empty()) return ChatTemplate("", path);
  }
  if (source.text.empty()) {
    throw Error(Kind::input, path + ": no chat template found",
                "expected chat_template.jinja, \"chat_template\" in tokenizer_config.json, or a GGUF file's");
  }
  ChatTemplate made(std::move(source.text), std::move(source.name));
  made.special_tokens_ = std::move(source.tokens);
  return made;
}

void ChatTemplate::set_token(const std::string& name, std::string text) {
  const auto known = std::find_if(special_tokens_.begin(), special_tokens_.end(),
                                  [&](const auto& token) { return token.first == name; });
  if (known == special_tokens_.end()) special_tokens_.emplace_back(name, std::move(text));
}

std::string ChatTemplate::render(const nlohmann::ordered_json& messages, const ChatOptions& options) const {
  return run(messages, options, false).text;
}

ChatText ChatTemplate::render_marked(const nlohmann::ordered_json& messages,
                                     const ChatOptions& options) const {
  return run(messages, options, true);
}

ChatText ChatTemplate::run(const nlohmann::ordered_json& messages, const ChatOptions& options,
                           bool marks) const {
  using jinja::Value;
  const std::tm now = local_time(options.now);
  std::vector<std::pair<std::string, Value>> variables;
  ChatText result;
  std::optional<jinja::Budget> budget;
  std::optional<jinja::Interpreter> interpreter;  // dies before the budget that its values are charged to
  try {
    // Converted outside of the budget: the caller's data may be as large as it is.
    for (const auto& [name, token] : special_tokens_) variables.emplace_back(name, Value(token));
    if (options.bos) variables.emplace_back("bos_token", Value(*options.bos));
    if (options.eos) variables.emplace_back("eos_token", Value(*options.eos));
    variables.emplace_back("messages", Value::from_json(messages));
    variables.emplace_back("tools", Value::from_json(options.tools));
    variables.emplace_back("documents", Value());
    variables.emplace_back("add_generation_prompt", Value(options.add_generation_prompt));
    for (const auto& [name, value] : options.variables.items())
      variables.emplace_back(name, Value::from_json(value));
    budget.emplace(options.limits);
    interpreter.emplace(variables, now);
    result.text = interpreter->render(*body_, marks ? &result.generated : nullptr);
  } catch (const jinja::Failure& failure) {
    std::string line = interpreter ? ", line " + std::to_string(interpreter->line()) : "";
    throw Error(Kind::input, name_ + line + ": " + failure.what());
  }
  return result;
}

}  // namespace mneme
