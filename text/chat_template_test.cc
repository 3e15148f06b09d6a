#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

using nlohmann::ordered_json;

std::string shared_folder() {
  const char* given = std::getenv("MNEME_SHARED");
  return given ? given : "../shared";
}

TEST(ChatTemplate, SharedTemplatesRenderByteForByte) {
  const std::string folder = shared_folder() + "/data/chat_templates";
  if (!file_exists(folder + "/expected.json")) GTEST_SKIP() << folder << " is not here";
  const ordered_json expected = parse_ordered_json(read_file(folder + "/expected.json"), "expected.json");
  int rendered = 0, refused = 0;
  for (const auto& [name, cases] : expected["rendered"].items()) {
    const bool bare = name.ends_with(".jinja");
    const std::string path = bare ? folder + "/" + name : shared_folder() + "/data/" + name;
    for (const auto& one : cases) {
      const auto conversation = one["conversation"].get<std::string>();
      ChatOptions options;
      options.tools = expected["conversations"][conversation]["tools"];
      options.now = "2024-07-26 12:00";
      options.add_generation_prompt = one["add_generation_prompt"].get<bool>();
      if (bare) options.bos = "<s>", options.eos = "</s>";
      std::string text, error;
      try {
        text = ChatTemplate::open(path).render(expected["conversations"][conversation]["messages"], options);
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), Kind::input);
        error = e.what();
      }
      SCOPED_TRACE(name + " " + conversation);
      if (one.contains("error")) {
        EXPECT_THAT(error, testing::HasSubstr(", line ")) << one["error"];
        ++refused;
      } else {
        EXPECT_EQ(error, "");
        EXPECT_EQ(text, one["text"].get<std::string>());
        ++rendered;
      }
    }
  }
  EXPECT_GT(rendered, 700);
  EXPECT_GT(refused, 60);
}

class Folder {
 public:
  Folder() : path_(testing::TempDir() + "chat_template_test") {
    make_folders(path_ + "/additional_chat_templates");
  }
  ~Folder() {
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                             "other.jinja", "additional_chat_templates/tool_use.jinja"}) {
      remove_file(path(name));
    }
  }
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : join_path(path_, name);
  }
  void write(const std::string& name, const std::string& text) const { write_file(path(name), text); }

 private:
  std::string path_;
};

TEST(ChatTemplate, SpecialTokensComeFromTheModelsFiles) {
  Folder folder;
  folder.write(
      "tokenizer_config.json",
      R"({"bos_token": {"content": "<B>"}, "eos_token": "<E>", "unk_token": null, "chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token is defined }}"})");
  folder.write("special_tokens_map.json", R"({"pad_token": "<P>", "eos_token": "<other>"})");
  const auto none = ordered_json::array();
  EXPECT_EQ(ChatTemplate::open(folder.path()).render(none), "<B><E><P>False");
  EXPECT_EQ(ChatTemplate::open(folder.path("tokenizer_config.json")).render(none), "<B><E>False");
  ChatOptions options;
  options.bos = "";
  options.variables["eos_token"] = "!";
  EXPECT_EQ(ChatTemplate::open(folder.path()).render(none, options), "!<P>False");
  folder.write("chat_template.jinja", "file {{ bos_token }}");
  EXPECT_EQ(ChatTemplate::open(folder.path()).render(none), "file <B>");
  folder.write("additional_chat_templates/tool_use.jinja", "tools");
  EXPECT_EQ(ChatTemplate::open(folder.path(), true).render(none), "tools");
}

TEST(ChatTemplate, OfSeveralNamedTemplatesOneIsChosen) {
  Folder folder;
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(ChatTemplate::open(folder.path(), false).render(ordered_json::array()), "d");
  EXPECT_EQ(ChatTemplate::open(folder.path(), true).render(ordered_json::array()), "t");
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "d"}]})");
  EXPECT_THROW(ChatTemplate::open(folder.path()), Error);
  folder.write("tokenizer_config.json", R"({"model_max_length": 512})");
  EXPECT_THROW(ChatTemplate::open(folder.path()), Error);
  folder.write("tokenizer_config.json", "{");
  EXPECT_THROW(ChatTemplate::open(folder.path()), Error);
}

TEST(ChatTemplate, TheTimeIsTheCallers) {
  ChatOptions options;
  for (const char* now : {"2024-07-26 12:00", "2024-07-26 12:00:00", "2024-07-26T12:00:00"}) {
    options.now = now;
    EXPECT_EQ(ChatTemplate("{{ strftime_now('%A %d %b %Y %H:%M') }}").render(ordered_json::array(), options),
              "Friday 26 Jul 2024 12:00");
  }
  options.now = "yesterday";
  EXPECT_THROW(ChatTemplate("x").render(ordered_json::array(), options), Error);
  EXPECT_EQ(ChatTemplate("{{ strftime_now('%Y')|int > 2000 }}").render(ordered_json::array()), "True");
}

TEST(ChatTemplate, JsonKeepsItsOrderAndItsDepthIsBounded) {
  const auto messages = parse_ordered_json(R"([{"z":1,"a":2.0,"m":{"y":null,"b":"\u00e9"}}])", "messages");
  EXPECT_EQ(ChatTemplate("{{ messages|tojson }}").render(messages),
            R"([{"z": 1, "a": 2.0, "m": {"y": null, "b": "é"}}])");
  EXPECT_THROW(parse_ordered_json(std::string(100000, '['), "deep"), Error);
  EXPECT_THROW(parse_ordered_json("[1] 2", "two"), Error);
  EXPECT_THROW(ChatTemplate("").render(ordered_json{18446744073709551615ULL}), Error);
}

}  // namespace
}  // namespace mneme
