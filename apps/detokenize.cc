// mneme detokenize: lines of token ids to lines of text.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/command.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "text/tokenizer.h"

namespace mneme {
extern const Command kDetokenizeCommand;

namespace {

struct DetokenizeOptions {
  CommonOptions common;
  std::string tokenizer;
  bool special = false, plain = false;
  void visit(OptionVisitor& v) {
    v.required("tokenizer", tokenizer,
               "model folder, tokenizer.json, tokenizer.model, GGUF or other tokenizer file");
    v.field("special", special, "undo `tokenize --special`: leave special tokens out of the text");
    v.field("plain", plain, "write the texts as they are, so that one with line ends takes several lines");
    common.visit(v);
  }
};

std::vector<int32_t> read_ids(const std::string& line, int64_t number) {
  const nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  const auto fail = [&] {
    throw Error(Kind::input,
                "standard input, line " + std::to_string(number) + ": expected a JSON list of token ids",
                "write each list on a line of its own: [1, 2, 3]");
  };
  if (!value.is_array()) fail();
  std::vector<int32_t> out;
  for (const auto& id : value) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) fail();
    out.push_back(id.get<int32_t>());
  }
  return out;
}

int run_detokenize(int argc, const char* const* argv) {
  DetokenizeOptions options;
  if (!read_options(kDetokenizeCommand, argc, argv, options)) return 0;
  if (options.common.json && options.plain) {
    throw Error(Kind::usage, "--json and --plain exclude each other", "give one of them");
  }
  const auto tokenizer = load_tokenizer(options.tokenizer);
  std::ios::sync_with_stdio(false);
  int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const std::vector<int32_t> ids = read_ids(line, ++number);
    const auto known = [&](int32_t id) { return tokenizer->piece_of(id).has_value(); };
    if (const auto odd = std::find_if_not(ids.begin(), ids.end(), known); odd != ids.end())
      log_warning("detokenize", "line {}: the tokenizer has no token {}; it is left out", number, *odd);
    const std::string text = tokenizer->decode(ids, options.special);
    const std::string out = (options.plain ? text : dump_json(text)) + "\n";
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return 0;
}

}  // namespace

const Command kDetokenizeCommand = {
    "detokenize", "token ids to text, one JSON string for each JSON list on standard input",
    "mneme detokenize --tokenizer <path> [--special] [--plain] < ids",
    "echo '[15043, 3186]' | mneme detokenize --tokenizer models/llama", run_detokenize};

}  // namespace mneme
