// Parser and interpreter of chat templates under arbitrary templates: whatever they say, rendering ends,
// within its limits, with text or an Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto messages = nlohmann::ordered_json::parse(
      R"([{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"a\nb"}],"n":1.5},
          {"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"x":[1,true,null]}}}]}])");
  mneme::ChatOptions options;
  options.now = "2024-07-26 12:00";
  options.bos = "<s>";
  options.add_generation_prompt = true;
  options.limits = {.steps = 20000, .bytes = size_t{4} << 20, .output = size_t{1} << 20, .depth = 300};
  try {
    const mneme::ChatTemplate chat(std::string(reinterpret_cast<const char*>(data), size));
    chat.render_marked(messages, options);
  } catch (const mneme::Error&) {
  }
  return 0;
}
