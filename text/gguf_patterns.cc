#include "text/gguf_patterns.h"

#include <algorithm>
#include <initializer_list>

#include "base/error.h"
#include "text/split_scanner.h"

namespace mneme {
namespace {

constexpr std::string_view kCjk = R"([\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+)";
// The cased letters, as DeepSeek's tokenizer lists them.
constexpr std::string_view kDeepseekWords =
    R"(\s?[A-Za-z)"
    R"(\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF)"
    R"(\u0370-\u0373\u0376-\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1)"
    R"(\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5)"
    R"(\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A)"
    R"(\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D)"
    R"(\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3)"
    R"(\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115)"
    R"(\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149)"
    R"(\u214E\u2183-\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2-\u2CF3\uA640-\uA66D)"
    R"(\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06)"
    R"(\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\x{10400}-\x{1044F}\x{104B0}-\x{104D3})"
    R"(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943})"
    R"(]+)";
constexpr std::string_view kDeepseekSymbols =
    R"(\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+)";
constexpr std::string_view kDeepseek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";

bool among(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

GgufPatterns gguf_patterns(std::string_view name, const std::string& where) {
  if (name == "default") {
    return {{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}};
  }
  if (among(name, {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral"})) {
    return {{kCl100kPattern}, true, true};
  }
  if (among(name, {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"})) return {{kCl100kPattern}};
  if (name == "deepseek-llm") {
    return {{"[\r\n]", kDeepseekWords, kDeepseekSymbols, R"(\s+$)", kCjk, R"(\p{N}+)"}};
  }
  if (among(name, {"deepseek-v3", "deepseek-r1"})) {
    return {{R"(\p{N}{1,3})", R"([\u4E00-\u9FA5\u3040-\u30FF]+)", kDeepseek3Words}};
  }
  if (name == "deepseek-coder") {
    return {{"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kCjk, R"(\p{N})"}};
  }
  if (name == "falcon") {
    return {{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"}};
  }
  if (among(name, {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"})) {
    return {{R"(\p{N})", kGpt2Pattern}};
  }
  if (among(name, {"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais", "gigachat", "jina-es", "jina-de",
                   "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe"})) {
    return {{kGpt2Pattern}};
  }
  // Qwen's models compose their text; the file does not say so.
  if (among(name, {"qwen2", "deepseek-r1-qwen"})) return {{kQwen2Pattern}, false, false, true};
  if (among(name, {"stablelm2", "megrez"})) return {{kQwen2Pattern}};
  if (among(name, {"bloom", "poro-chat", "gpt3-finnish"})) return {{kBloom}};
  if (name == "viking") return {{kBloom, R"(\p{N})"}};
  if (name == "tekken") return {{kTekkenPattern}, true, true};
  if (among(name, {"gpt-4o", "llama4"})) return {{kO200kPattern}};
  throw Error(Kind::input,
              where + ": the pre-tokenizer '" + std::string(name) + "' of this GGUF file is not known",
              "use the tokenizer.json of the model");
}

}  // namespace mneme
