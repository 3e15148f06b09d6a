// Lines of training files: arbitrary JSON as a record, with a chat template that looks at everything.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "data/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const mneme::ChatTemplate chat(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.tool_calls|default([])|tojson }}{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}");
  mneme::RecordOptions options;
  options.chat = &chat;
  try {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    const mneme::Document document =
        mneme::read_record(mneme::parse_ordered_json(line, "line"), options, "line");
    for (const mneme::ByteRange& range : document.trained) {
      if (range.begin > range.end || range.end > document.text.size()) __builtin_trap();
    }
  } catch (const mneme::Error&) {
  }
  return 0;
}
