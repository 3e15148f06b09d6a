// mneme generate: text after a prompt; with --session the text's memory stays in a file between runs.
#include "infer/generate.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/load.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "memory/state_file.h"

namespace mneme {
extern const Command kGenerateCommand;

namespace {

struct GenerateCommandOptions {
  CommonOptions common;
  std::string model, tokenizer, session;
  std::vector<std::string> prompt;
  int64_t samples = 1;
  MemoryOptions memory;
  GenerateOptions generate;
  void visit(OptionVisitor& v) {
    v.required("model", model, "folder of the model, or a GGUF file");
    v.field("tokenizer", tokenizer, "where the tokenizer is, if not in the model's folder");
    v.positional("prompt", prompt, "texts to go on from; several are one batch", Need::required);
    v.field("samples", samples, "continuations of each prompt");
    v.field("session", session, "file that keeps the text's memory between runs (one prompt)");
    generate.visit(v);
    v.section("memory", memory, "another memory method than the folder's");
    common.visit(v);
  }
};

int run(int argc, const char* const* argv) {
  GenerateCommandOptions o;
  if (!read_options(kGenerateCommand, argc, argv, o)) return 0;
  if (!o.session.empty() && (o.prompt.size() != 1 || o.samples != 1)) {
    throw Error(Kind::usage, "--session takes one prompt and one sample");
  }
  const Loaded loaded = load_for_inference(o.model, o.tokenizer, o.common, o.memory);
  const bool resumed = !o.session.empty() && file_exists(o.session);
  std::vector<std::vector<int64_t>> prompts;
  for (const std::string& text : o.prompt) {
    const std::vector<int32_t> ids = loaded.tokenizer->encode(text, /*add_special=*/!resumed);
    for (int64_t n = 0; n < o.samples; ++n) prompts.emplace_back(ids.begin(), ids.end());
  }
  const std::string print =
      o.session.empty() ? "" : fingerprint(loaded.model, std::to_string(loaded.tokenizer->fingerprint()));
  State state =
      resumed ? load_state(o.session, print) : loaded.model.initial(static_cast<int64_t>(prompts.size()));
  if (resumed) log_info("session", "{}: going on at token {}", o.session, state.rows.at(0).position);
  const bool streams = prompts.size() == 1 && !o.common.json;
  if (streams) std::fputs(o.prompt[0].c_str(), stdout);
  const std::vector<Completion> all =
      generate(loaded.model, loaded.tokenizer.get(), prompts, loaded.end_ids, o.generate,
               static_cast<uint64_t>(o.common.seed), state, [&](int64_t, const std::string& text) {
                 if (!streams) return;
                 std::fputs(text.c_str(), stdout);
                 std::fflush(stdout);
               });
  if (streams) std::fputs("\n", stdout);
  for (size_t r = 0; r < all.size() && !streams; ++r) {
    const std::string& prompt = o.prompt[r / static_cast<size_t>(o.samples)];
    if (o.common.json) {
      const nlohmann::json line = {{"prompt", prompt},
                                   {"text", all[r].text},
                                   {"ids", all[r].ids},
                                   {"logprobs", all[r].logprobs},
                                   {"reason", all[r].reason}};
      std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    } else {
      std::printf("--- %zu\n%s%s\n", r, prompt.c_str(), all[r].text.c_str());
    }
  }
  if (!o.session.empty()) save_state(state, print, o.session);
  return 0;
}

}  // namespace

const Command kGenerateCommand = {
    "generate", "go on from a prompt", "mneme generate --model DIR [--session FILE] <prompt>...",
    "mneme generate --model models/stories --max-tokens 60 \"Once upon a time\"", run};

}  // namespace mneme
