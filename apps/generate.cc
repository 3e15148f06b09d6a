// mneme generate: text after prompts; with --session the text and its memory stay in a file between runs.
#include "infer/generate.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/load.h"
#include "apps/read_document.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "infer/session.h"

namespace mneme {
extern const Command kGenerateCommand;

namespace {

struct GenerateCommandOptions {
  CommonOptions common;
  std::string model, adapter, tokenizer, session_file, prompts, document;
  std::vector<std::string> prompt;
  int64_t samples = 1, batch = 32, save_every = 0;
  MemoryOptions memory;
  GenerateOptions generate;
  SessionOptions session;
  void visit(OptionVisitor& v) {
    v.required("model", model, "folder of the model, or a GGUF file");
    v.field("adapter", adapter, "folder of a LoRA adapter that runs beside it");
    v.field("tokenizer", tokenizer, "where the tokenizer is, if not in the model's folder");
    v.positional("prompt", prompt, "texts to go on from; a session may go on without");
    v.field("prompts", prompts,
            "file with a prompt a line, in JSON: a string, {\"prompt\": \"...\"} or {\"ids\": [...]}");
    v.field("samples", samples, "continuations of each prompt");
    v.field("batch", batch, "texts that run at the same time");
    v.field("session", session_file, "file that keeps the text and its memory between runs (one prompt)");
    v.field("read", document,
            "text file that is read before the prompt, with progress; a session that stopped inside it goes "
            "on there");
    v.field("save_every", save_every,
            "with --read and --session: tokens between two saves; 0: one at the end");
    v.field("keep_ends", session.keep, "segment ends that the session can go back to (mneme state fork)");
    generate.visit(v);
    v.section("memory", memory, "the memory; what is not said is as the folder says");
    common.visit(v);
  }
};

struct Prompt {
  std::string text;
  std::vector<int64_t> ids;
};

std::vector<int64_t> encoded(const Loaded& loaded, const std::string& text, bool begins) {
  const std::vector<int32_t> ids = loaded.tokenizer->encode(text, begins);
  return {ids.begin(), ids.end()};
}

std::vector<int64_t> document_of(const Loaded& loaded, const std::string& path) {
  const std::string text = read_file(path);
  if (text.empty()) throw Error(Kind::input, path + " holds no text", "give a document with at least a word");
  return encoded(loaded, text, true);
}

Prompt parse_prompt(const Loaded& loaded, const std::string& line, const std::string& where) {
  const nlohmann::json json = parse_json(line, where);
  if (json.is_string()) return {json.get<std::string>(), encoded(loaded, json.get<std::string>(), true)};
  if (!json.is_object()) throw Error(Kind::input, where + ": expected a string or an object");
  const JsonReader in(json, where);
  if (!in.has("ids")) return {in.string("prompt"), encoded(loaded, in.string("prompt"), true)};
  const std::vector<int64_t> ids = in.integers("ids");
  for (const int64_t id : ids) {  // the rest is read()'s to say
    if (id < 0 || id > INT32_MAX) in.fail("ids", "token ids");
  }
  return {loaded.tokenizer->decode(std::vector<int32_t>(ids.begin(), ids.end()), false), ids};
}

std::vector<Prompt> all_prompts(const GenerateCommandOptions& o, const Loaded& loaded) {
  std::vector<Prompt> out;
  for (const std::string& text : o.prompt) out.push_back({text, encoded(loaded, text, true)});
  if (o.prompts.empty()) return out;
  const std::string lines = read_file(o.prompts);
  size_t number = 1;
  for (size_t begin = 0; begin < lines.size(); ++number) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    const std::string line = lines.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos)
      out.push_back(parse_prompt(loaded, line, o.prompts + ":" + std::to_string(number)));
    begin = end + 1;
  }
  return out;
}

void print_json(const Completion& c, const std::string& prompt, int64_t row) {
  nlohmann::ordered_json line = {{"row", row},   {"prompt", prompt},       {"text", c.text},
                                 {"ids", c.ids}, {"logprobs", c.logprobs}, {"reason", c.reason}};
  if (!c.top.empty()) line["top_logprobs"] = c.top;
  std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

// The prompt appears when it was read, so that nothing does when it cannot be.
GenerateHooks streaming(bool on, const std::string& prompt) {
  GenerateHooks hooks;
  if (!on) return hooks;
  hooks.on_read = [prompt, shown = false](int64_t, const Row&) mutable {
    if (!shown) std::fwrite(prompt.data(), 1, prompt.size(), stdout);
    shown = true;
  };
  hooks.on_text = [](int64_t, const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  return hooks;
}

// Rotary positions go on beyond the length that the model knows, but its texts do not stay good there.
void warn_of_length(const Loaded& loaded, size_t tokens, int64_t more) {
  const ModelConfig& c = loaded.model.decoder->config();
  const bool counts = loaded.model.options.method == "none" && c.position == PositionKind::rotary &&
                      c.window == 0 && c.rotary.scaling != RotaryScaling::dynamic;
  if (!counts || static_cast<int64_t>(tokens) + more <= c.max_positions) return;
  log_warning("generate", "{} tokens and up to {} more: the model was made for {} positions", tokens, more,
              c.max_positions);
}

int run_session(const GenerateCommandOptions& o, const Loaded& loaded) {
  Session session = o.session_file.empty()
                        ? Session(loaded.model, loaded.tokenizer, o.session)
                        : Session::open_or_start(loaded.model, loaded.tokenizer, o.session_file, o.session);
  const auto save = [&] {
    if (!o.session_file.empty()) session.save(o.session_file);
  };
  if (!o.document.empty()) {
    const int code = read_document(session, document_of(loaded, o.document), o.session_file, o.save_every);
    if (code != 0 || o.prompt.empty()) {
      save();
      return code;
    }
  }
  const bool begins = session.text().empty();
  if (!begins) log_info("session", "{}: going on behind {} tokens", o.session_file, session.text().size());
  const std::string prompt = o.prompt.empty() ? "" : o.prompt[0];
  const bool streams = !o.common.json;
  const Completion c = session.go_on(
      prompt.empty() && !begins ? std::vector<int64_t>{} : encoded(loaded, prompt, begins), loaded.end_ids,
      o.generate, static_cast<uint64_t>(o.common.seed), streaming(streams, prompt));
  if (streams) {
    std::fputs("\n", stdout);
  } else {
    print_json(c, prompt, 0);
  }
  save();
  return 0;
}

int run_batches(const GenerateCommandOptions& o, const Loaded& loaded) {
  const std::vector<Prompt> prompts = all_prompts(o, loaded);
  if (prompts.empty()) throw Error(Kind::usage, "nothing to go on from", "give prompts, or --prompts FILE");
  size_t longest = 0;
  for (const Prompt& p : prompts) longest = std::max(longest, p.ids.size());
  warn_of_length(loaded, longest, o.generate.max_tokens);
  const bool streams = prompts.size() == 1 && o.samples == 1 && !o.common.json;
  GenerateOptions options = o.generate;
  options.samples = o.samples;
  const size_t at_once = static_cast<size_t>(std::max<int64_t>(1, o.batch / o.samples));
  for (size_t first = 0; first < prompts.size(); first += at_once) {
    const size_t count = std::min(at_once, prompts.size() - first);
    std::vector<std::vector<int64_t>> ids;
    for (size_t p = first; p < first + count; ++p) ids.push_back(prompts[p].ids);
    State state = loaded.model.initial(static_cast<int64_t>(count));
    options.first_row = static_cast<int64_t>(first) * o.samples;
    const std::vector<Completion> all =
        generate(loaded.model, loaded.tokenizer.get(), ids, loaded.end_ids, options,
                 static_cast<uint64_t>(o.common.seed), state, streaming(streams, prompts[0].text));
    if (streams) std::fputs("\n", stdout);
    for (size_t r = 0; r < all.size() && !streams; ++r) {
      const std::string& prompt = prompts[first + r / static_cast<size_t>(o.samples)].text;
      const int64_t row = options.first_row + static_cast<int64_t>(r);
      if (o.common.json) {
        print_json(all[r], prompt, row);
      } else {
        std::printf("--- %lld\n%s%s\n", static_cast<long long>(row), prompt.c_str(), all[r].text.c_str());
      }
    }
    std::fflush(stdout);
  }
  return 0;
}

// What cannot be, or would do nothing, before the model is loaded.
void check(const GenerateCommandOptions& o) {
  check_generation(o.generate);
  if (o.batch < 1 || o.samples < 1) throw Error(Kind::usage, "batch and samples must be at least 1");
  if (o.generate.top_logprobs > 0 && !o.common.json)
    throw Error(Kind::usage, "--top-logprobs shows with --json only", "add --json");
  if (o.session_file.empty() && o.session.keep != SessionOptions{}.keep)
    throw Error(Kind::usage, "--keep-ends is about a session", "add --session FILE");
  if (o.save_every < 0) throw Error(Kind::usage, "save_every must be at least 0");
  if (o.save_every > 0 && (o.session_file.empty() || o.document.empty()))
    throw Error(Kind::usage, "--save-every is about reading a document into a session",
                "add --read FILE and --session FILE");
}

int run_generate(int argc, const char* const* argv) {
  GenerateCommandOptions o;
  if (!read_model_options(kGenerateCommand, argc, argv, o)) return 0;
  check(o);
  const bool one = !o.session_file.empty() || !o.document.empty();
  if (one && (o.prompt.size() > 1 || o.samples != 1 || !o.prompts.empty())) {
    throw Error(Kind::usage, "--session and --read take one prompt and one sample");
  }
  const Loaded loaded = load_for_inference(o.model, o.tokenizer, o.common, o.memory, true, o.adapter);
  return one ? run_session(o, loaded) : run_batches(o, loaded);
}

}  // namespace

const Command kGenerateCommand = {
    "generate", "go on from prompts, or with a session",
    "mneme generate --model DIR [--session FILE] [PROMPT]...",
    "mneme generate --model models/stories --max-tokens 60 \"Once upon a time\"", run_generate};

}  // namespace mneme
