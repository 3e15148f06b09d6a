// mneme chat: a conversation in the terminal.
#include "infer/chat.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>

#include "apps/command.h"
#include "apps/load.h"
#include "base/error.h"
#include "base/format.h"
#include "base/log.h"
#include "base/signals.h"

namespace mneme {
extern const Command kChatCommand;

namespace {

struct ChatCommandOptions {
  CommonOptions common;
  std::string model, adapter, tokenizer, session_file, system, template_file;
  MemoryOptions memory;
  GenerateOptions generate;
  SessionOptions session;
  void visit(OptionVisitor& v) {
    v.required("model", model, "folder of the model, or a GGUF file");
    v.field("adapter", adapter, "folder of a LoRA adapter that runs beside it");
    v.field("tokenizer", tokenizer, "where the tokenizer is, if not in the model's folder");
    v.field("template", template_file,
            "chat template: a .jinja file, a model folder or a GGUF file, instead of the model's");
    v.field("system", system, "what the model is told first, in a new conversation");
    v.field("session", session_file,
            "file that keeps the conversation and its memory; saved after every answer");
    v.field("keep_ends", session.keep, "segment ends kept to go back to when a turn is undone");
    generate.visit(v);
    v.section("memory", memory, "the memory; what is not said is as the folder says");
    common.visit(v);
  }
};

ChatTemplate template_of(const ChatCommandOptions& o, const Tokenizer& tokenizer, GenerateOptions& generate) {
  std::optional<ChatTemplate> t;
  if (!o.template_file.empty()) {
    t = ChatTemplate::open(o.template_file);
  } else if (!tokenizer.chat_template().empty()) {
    t = ChatTemplate(tokenizer.chat_template(), tokenizer.source());
  } else {
    log_warning("chat", "the model brings no chat template: taking \"User: ...\\nAssistant: ...\"");
    t = ChatTemplate(kPlainChatTemplate, "the plain template");
    generate.stop.emplace_back("\nUser:");
  }
  const SpecialIds& s = tokenizer.special();
  if (s.bos >= 0) t->set_token("bos_token", tokenizer.piece_of(s.bos).value_or(""));
  if (s.eos >= 0) t->set_token("eos_token", tokenizer.piece_of(s.eos).value_or(""));
  return *std::move(t);
}

class Talk {
 public:
  Talk(const ChatCommandOptions& o, const Loaded& loaded, Chat chat, GenerateOptions generate)
      : o_(o),
        loaded_(loaded),
        chat_(std::move(chat)),
        generate_(std::move(generate)),
        prompts_(::isatty(STDIN_FILENO) != 0 && !o.common.json) {}

  int run() {
    if (prompts_) std::fprintf(stderr, "/help lists the commands; an empty line or ctrl-D leaves\n");
    for (std::string line; ask(line);) {
      if (line.empty() && prompts_) break;
      if (line.empty()) continue;
      if (line[0] == '/') {
        if (!command(line)) break;
        continue;
      }
      answer(line);
    }
    return 0;
  }

 private:
  bool ask(std::string& line) const {
    if (prompts_) std::fputs("> ", stderr);
    return static_cast<bool>(std::getline(std::cin, line));
  }

  // Ctrl-C ends the answer, not the conversation; a second one ends the program, with all earlier turns
  // saved.
  void answer(const std::string& said) {
    StopSignals stop;
    GenerateHooks hooks;
    hooks.stopped = [&] { return stop.requested(); };
    if (!o_.common.json) {
      hooks.on_text = [](int64_t, const std::string& text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      };
    }
    const auto begin = std::chrono::steady_clock::now();
    const Completion c = chat_.say(said, loaded_.end_ids, generate_, seed(), hooks);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    tokens_ += static_cast<int64_t>(c.ids.size());
    seconds_ += took.count();
    if (o_.common.json) {
      const nlohmann::ordered_json out = {{"answer", c.text}, {"reason", c.reason}, {"tokens", c.ids.size()}};
      std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    } else {
      std::printf("%s\n", c.reason == "interrupted" ? " ..." : "");
    }
    std::fflush(stdout);
    save(o_.session_file);
  }

  uint64_t seed() const { return static_cast<uint64_t>(o_.common.seed); }

  void save(const std::string& path) {
    if (!path.empty()) chat_.save(path);
  }

  void stats() const {
    const Row& row = chat_.session().row();
    std::printf("%zu messages, %zu tokens; memory %s: %lld segments closed, %s, %zu segment ends kept\n",
                chat_.messages().size(), chat_.session().text().size(), loaded_.model.options.method.c_str(),
                static_cast<long long>(row.segment), format_bytes(static_cast<double>(row.bytes())).c_str(),
                chat_.session().ends().size());
    if (seconds_ > 0)
      std::printf("%.1f tokens a second, prompts included\n", static_cast<double>(tokens_) / seconds_);
  }

  void history() const {
    for (const auto& m : chat_.messages()) {
      const std::string text = m.at("content");
      std::printf("%s:%s%s\n", m.at("role").get<std::string>().c_str(), text.rfind(' ', 0) == 0 ? "" : " ",
                  text.c_str());
    }
  }

  // False: leave.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(1, space == std::string::npos ? space : space - 1);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "exit" || name == "quit") return false;
    if (name == "undo") {
      std::fputs(chat_.undo() ? "the last exchange is undone\n" : "there is nothing to undo\n", stderr);
      save(o_.session_file);
    } else if (name == "reset") {
      chat_.reset();
      save(o_.session_file);
    } else if (name == "save") {
      const std::string path = rest.empty() ? o_.session_file : rest;
      std::fputs(path.empty() ? "/save needs a file\n" : "", stderr);
      save(path);
    } else if (name == "stats") {
      stats();
    } else if (name == "history") {
      history();
    } else if (name == "help") {
      help();
    } else {
      std::fprintf(stderr, "no command /%s: the nearest is /%s; /help lists all\n", name.c_str(),
                   nearest(name, {"help", "undo", "save", "reset", "stats", "history", "exit"}).c_str());
    }
    return true;
  }

  static void help() {
    std::fputs(
        "/undo         take back the last exchange\n/reset        begin anew\n"
        "/save [FILE]  save the session\n/history      all messages\n/stats        tokens, memory, speed\n"
        "/exit         leave\n",
        stderr);
  }

  const ChatCommandOptions& o_;
  const Loaded& loaded_;
  Chat chat_;
  GenerateOptions generate_;
  const bool prompts_;
  int64_t tokens_ = 0;
  double seconds_ = 0;
};

int run_chat(int argc, const char* const* argv) {
  ChatCommandOptions o;
  o.generate.max_tokens = 512;
  if (!read_model_options(kChatCommand, argc, argv, o)) return 0;
  check_generation(o.generate);
  if (o.generate.top_logprobs > 0)
    throw Error(Kind::usage, "mneme chat shows no logprobs", "see mneme generate");
  const Loaded loaded = load_for_inference(o.model, o.tokenizer, o.common, o.memory, true, o.adapter);
  Session session = o.session_file.empty()
                        ? Session(loaded.model, loaded.tokenizer, o.session)
                        : Session::open_or_start(loaded.model, loaded.tokenizer, o.session_file, o.session);
  if (!session.text().empty()) log_info("session", "{}: {} tokens", o.session_file, session.text().size());
  GenerateOptions generate = o.generate;
  ChatTemplate chat_template = template_of(o, *loaded.tokenizer, generate);
  return Talk(o, loaded, Chat(std::move(session), loaded.tokenizer, std::move(chat_template), o.system),
              std::move(generate))
      .run();
}

}  // namespace

const Command kChatCommand = {
    "chat", "a conversation in the terminal, kept in a session", "mneme chat --model DIR [--session FILE]",
    "mneme chat --model models/smol --session me.state --sampler.temperature 0.7", run_chat};

}  // namespace mneme
