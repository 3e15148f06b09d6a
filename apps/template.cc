// mneme template: renders a conversation through a chat template, byte for byte as transformers would.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "text/chat_template.h"

namespace mneme {

extern const Command kTemplateCommand;

namespace {

struct TemplateOptions {
  CommonOptions common;
  std::string file, messages, tools, bos, eos, now, variables;
  bool add_generation_prompt = false;
  void visit(OptionVisitor& v) {
    v.required("file", file, "template: a .jinja file, a tokenizer_config.json, a model folder, a GGUF file");
    v.required("messages", messages, "JSON file with the list of messages; - reads standard input");
    v.field("tools", tools, "JSON file with the list of tools; - reads standard input");
    v.field("bos", bos, "the text of bos_token; default: what the model's files say");
    v.field("eos", eos, "the text of eos_token; default: what the model's files say");
    v.field("now", now, "the time that strftime_now sees, \"2024-07-26 12:00\"; default: the clock");
    v.field("add_generation_prompt", add_generation_prompt, "end with the start of an answer");
    v.field("variables", variables, "JSON file with an object of further variables, such as enable_thinking");
    common.visit(v);
  }
};

nlohmann::ordered_json read_ordered(const std::string& path) {
  if (path != "-") return parse_ordered_json(read_file(path), path);
  const std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  return parse_ordered_json(text, "standard input");
}

int run_template(int argc, const char* const* argv) {
  TemplateOptions o;
  if (!read_options(kTemplateCommand, argc, argv, o)) return 0;
  if ((o.messages == "-") + (o.tools == "-") + (o.variables == "-") > 1) {
    throw Error(Kind::usage, "standard input can be read only once",
                "give '-' for one of --messages, --tools, --variables");
  }
  ChatOptions options;
  if (!o.bos.empty()) options.bos = o.bos;
  if (!o.eos.empty()) options.eos = o.eos;
  options.now = o.now;
  options.add_generation_prompt = o.add_generation_prompt;
  if (!o.tools.empty()) options.tools = read_ordered(o.tools);
  if (!o.variables.empty()) options.variables = read_ordered(o.variables);
  if (!options.variables.is_object())
    throw Error(Kind::input, o.variables + ": expected a JSON object of variables");
  const nlohmann::ordered_json messages = read_ordered(o.messages);
  if (!messages.is_array()) throw Error(Kind::input, o.messages + ": expected a JSON list of messages");

  const ChatTemplate chat = ChatTemplate::open(o.file, !options.tools.is_null());
  if (!o.common.json) {
    const std::string text = chat.render(messages, options);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  const ChatText rendered = chat.render_marked(messages, options);
  nlohmann::ordered_json generated = nlohmann::ordered_json::array();
  for (const jinja::Span& span : rendered.generated) generated.push_back({span.begin, span.end});
  const nlohmann::ordered_json line = {{"text", rendered.text}, {"generated", generated}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace

const Command kTemplateCommand = {"template", "render a conversation through a chat template",
                                  "mneme template --file T --messages FILE [--tools FILE] [--bos S] [--eos "
                                  "S] [--now TIME] [--add-generation-prompt]",
                                  "mneme template --file model/ --messages chat.json --add-generation-prompt",
                                  run_template};

}  // namespace mneme
