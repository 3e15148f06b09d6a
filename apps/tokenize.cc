// mneme tokenize: lines of text to lines of token ids. A line that is a JSON string is read as one; with
// --json all must be, with --plain none is.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/command.h"
#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace mneme {
extern const Command kTokenizeCommand;

namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::string tokenizer;
  bool special = false, plain = false;
  void visit(OptionVisitor& v) {
    v.required("tokenizer", tokenizer,
               "model folder, tokenizer.json, tokenizer.model, GGUF or other tokenizer file");
    v.field("special", special, "add the special tokens that surround a text (<s>, </s>, [CLS], ...)");
    v.field("plain", plain, "every line is text as it stands, also one that looks like a JSON string");
    common.visit(v);
  }
};

std::string read_text(std::string line, int64_t number, const TokenizeOptions& options) {
  if (options.plain) return line;
  const bool quoted = line.size() >= 2 && line.front() == '"';
  if (!quoted && !options.common.json) return line;
  nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  if (value.is_string()) return value.get<std::string>();
  if (!options.common.json) return line;
  throw Error(Kind::input, "standard input, line " + std::to_string(number) + ": expected a JSON string",
              "write each text as one JSON string a line, or use --plain");
}

void print_ids(const std::vector<int32_t>& ids) {
  std::string out = "[";
  for (size_t i = 0; i < ids.size(); ++i) out.append(i ? ", " : "").append(std::to_string(ids[i]));
  out += "]\n";
  std::fwrite(out.data(), 1, out.size(), stdout);
}

int run_tokenize(int argc, const char* const* argv) {
  TokenizeOptions options;
  if (!read_options(kTokenizeCommand, argc, argv, options)) return 0;
  if (options.common.json && options.plain) {
    throw Error(Kind::usage, "--json and --plain exclude each other", "give one of them");
  }
  const auto tokenizer = load_tokenizer(options.tokenizer);
  std::ios::sync_with_stdio(false);
  int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    print_ids(tokenizer->encode(read_text(std::move(line), ++number, options), options.special));
  }
  return 0;
}

}  // namespace

const Command kTokenizeCommand = {
    "tokenize", "token ids, a JSON list for each line of standard input: a JSON string, or text as it stands",
    "mneme tokenize --tokenizer <path> [--special] [--json | --plain] < texts",
    "echo '\"Hello world\"' | mneme tokenize --tokenizer models/llama", run_tokenize};

}  // namespace mneme
