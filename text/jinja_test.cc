// The language piece by piece: testdata/jinja/language.json holds templates with what the original renders
// (or that it fails), by statement, expression, filter, test and method. Here is what a table cannot say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "text/chat_template.h"

namespace mneme {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

std::string render(const std::string& source, const ChatOptions& options = {}) {
  return ChatTemplate(source).render(ordered_json::array(), options);
}

std::string failure(const std::string& source, const ChatOptions& options = {}) {
  try {
    render(source, options);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::input);
    return e.what();
  }
  return "";
}

std::string times(const std::string& part, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += part;
  return all;
}

TEST(Jinja, TheLanguageAsTheOriginalRendersIt) {
  const ordered_json table = parse_ordered_json(read_file("testdata/jinja/language.json"), "language.json");
  ChatOptions options;
  options.now = "2024-07-26 12:00";
  options.variables = table["variables"];
  for (const auto& one : table["cases"]) {
    const auto source = one["template"].get<std::string>();
    SCOPED_TRACE(source);
    if (one.contains("error")) {
      EXPECT_NE(failure(source, options), "");
    } else {
      EXPECT_EQ(failure(source, options), "");
      EXPECT_EQ(render(source, options), one["text"].get<std::string>());
    }
  }
  EXPECT_GT(table["cases"].size(), 300U);
}

TEST(Jinja, FailuresNameTheLine) {
  EXPECT_THAT(failure("a\nb\n{{ none + 1 }}"), HasSubstr("line 3: unsupported operand"));
  EXPECT_THAT(failure("{% if true %}\n\n{{ x.y }}\n{% endif %}"), HasSubstr("line 3: 'x' is undefined"));
  EXPECT_THAT(failure("{% macro m(a) %}\n{{ a.b.c }}{% endmacro %}\n\n{{ m({}) }}"), HasSubstr("line 2"));
  EXPECT_THAT(failure("{{ 'a'\n~ [1][0]\n + none }}"), HasSubstr("line 3"));
  EXPECT_THAT(failure("{# two\nlines #}{{ raise_exception('no such role') }}"),
              HasSubstr("line 2: no such role"));
  EXPECT_THAT(failure("\n{% if x %}\n"), HasSubstr("line 2: unexpected end of template: expected 'elif'"));
  EXPECT_THAT(failure("\n\n{% frobnicate %}"), HasSubstr("line 3: unknown tag 'frobnicate'"));
  EXPECT_THAT(failure("{{ 1|nope }}"), HasSubstr("line 1: No filter named 'nope'"));
  EXPECT_THAT(failure("\n{{ \"open }}"), HasSubstr("line 2"));
  EXPECT_THAT(failure("{{ '\xff' }}"), HasSubstr("not valid UTF-8"));
}

TEST(Jinja, GenerationBlocksAreMarked) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>"
      "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  const ordered_json messages = {{{"role", "user"}, {"content", "né"}},
                                 {{"role", "assistant"}, {"content", "日本"}},
                                 {{"role", "user"}, {"content", "b"}},
                                 {{"role", "assistant"}, {"content", ""}}};
  const ChatTemplate chat(source);
  EXPECT_TRUE(chat.marks_generation());
  const ChatText marked = chat.render_marked(messages);
  ASSERT_EQ(marked.generated.size(), 2U);
  auto text = [&](const jinja::Span& s) { return marked.text.substr(s.begin, s.end - s.begin); };
  EXPECT_EQ(text(marked.generated[0]), "日本</s>");
  EXPECT_EQ(text(marked.generated[1]), "</s>");
  EXPECT_FALSE(ChatTemplate("{{ messages }}").marks_generation());
}

TEST(Jinja, GenerationInsideMacrosFindsItsPlace) {
  auto marked = [](const std::string& source) {
    const ChatText made = ChatTemplate(source).render_marked(ordered_json::array());
    std::vector<std::string> pieces;
    for (const auto& s : made.generated)
      pieces.push_back(std::to_string(s.begin) + made.text.substr(s.begin, s.end - s.begin));
    return pieces;
  };
  const std::string macro = "{% macro m(x) %}[{% generation %}{{ x }}{% endgeneration %}]{% endmacro %}";
  EXPECT_THAT(marked(macro + "ab{{ m('one') }}{{ m('two') }}"), testing::ElementsAre("3one", "8two"));
  EXPECT_THAT(marked(macro + "{% set s = m('one') %}text {{ s }}"), testing::ElementsAre("6one"));
  EXPECT_THROW(marked(macro + "{{ m('one')|upper }}"), Error);
}

TEST(Jinja, HostileTemplatesEnd) {
  const char* kLoops[] = {
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{{ 'x' * 99999999999 }}",
      "{{ [0] * 9223372036854775807 }}",
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "{% for i in range(99999) %}{% for j in range(99999) %}aaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% "
      "endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ '%99999999999d' % 1 }}",
      "{{ '%*d' % (2000000000, 1) }}",
      "{{ '%.2000000000f' % 1 }}",
      "{{ '{:>2000000000}'.format(1) }}",
      "{{ '{0:{0}}'.format(2000000000) }}",
      "{{ ('x' * 1000000)|replace('x', 'y' * 1000000) }}",
      "{{ ('x' * 1000000)|replace('', 'y' * 1000000) }}",
      "{{ (['x' * 1000000] * 1000)|join }}",
      "{{ ('a\n' * 1000000)|indent(1000000) }}",
      "{{ [['x' * 10000] * 10000]|tojson }}",
      "{{ [['x' * 10000] * 10000]|string }}",
      "{{ 'x'.center(9999999999) }}",
      "{{ 'x'.zfill(9999999999) }}",
      "{{ '\t'.expandtabs(9999999999) }}",
      "{{ range(9999999999) }}",
      "{% set ns = namespace(v=[]) %}{% for i in range(9999) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}",
      "{% set ns = namespace(v={}) %}{% for i in range(9999) %}{% set ns.v = {1: ns.v} %}{% endfor %}",
      "{% set ns = namespace(v=[1]) %}{% for i in range(9999) %}{% set ns.v = ns.v|map('string') %}{% endfor "
      "%}",
      "{% set ns = namespace(v=1) %}{% for i in range(9999) %}{% set ns.v = cycler(ns.v) %}{% endfor %}",
      "{{ 2 ** 9999999 }}",
      "{{ 9223372036854775807 * 2 }}",
      "{{ strftime_now('%99999999d') }}",
  };
  ChatOptions options;  // small ones, for a quick test
  options.limits = {.steps = 2'000'000, .bytes = size_t{32} << 20, .output = size_t{8} << 20};
  for (const char* source : kLoops) EXPECT_NE(failure(source, options), "") << source;
  for (const std::string& source :
       {times("(", 5000) + "1", times("[", 5000), times("{{ [", 5000), "{{ " + times("not ", 5000) + "1 }}",
        "{{ " + times("-", 5000) + "1 }}", "{{ 1" + times("+1", 5000) + " }}",
        "{{ x" + times(".a", 5000) + " }}", "{{ x" + times("|string", 5000) + " }}",
        times("{% if 1 %}", 5000), "{{ " + times("1 if 1 else ", 5000) + "1 }}",
        "{% for " + times("(", 5000) + "x in y %}"}) {
    const std::string whole = source[0] == '{' ? source : "{{ " + source + " }}";
    EXPECT_NE(failure(whole), "") << whole.substr(0, 40);
  }
}

TEST(Jinja, SearchesInLargeTextsStayLinear) {
  // Would take minutes if the search were naive; the limit on steps would not notice.
  const std::string setup = "{% set t = 'a' * 3000000 %}{% set p = 'a' * 1000000 ~ 'b' %}";
  EXPECT_EQ(render(setup +
                   "{{ p in t }}{{ t.find(p) }}{{ t.rfind('b' ~ p) }}{{ t.count(p) }}{{ t.split(p)|length }}"
                   "{{ t.rsplit('b' ~ p)|length }}{{ t.replace(p, '')|length }}{{ t.partition(p)[1] }}"),
            "False-1-101"
            "13000000");
}

TEST(Jinja, NamespacesThatHoldThemselves) {
  EXPECT_EQ(render("{% set ns = namespace(a=1) %}{% set ns.me = ns %}{{ ns.me.me.a }}{{ ns }}"),
            "1<Namespace {'a': 1, 'me': <Namespace {...}>}>");
}

TEST(Jinja, LimitsAreTheCallers) {
  ChatOptions options;
  options.limits.steps = 100;
  EXPECT_THAT(failure("{% for i in range(1000) %}{% endfor %}", options), HasSubstr("steps"));
  options = {};
  options.limits.output = 10;
  EXPECT_EQ(render("{{ 'x' * 10 }}", options), "xxxxxxxxxx");
  EXPECT_THAT(failure("{{ 'x' * 11 }}", options), HasSubstr("more than 10 bytes"));
}

TEST(Jinja, OneTemplateOnManyThreads) {
  const ChatTemplate chat(
      "{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s ~ m %}{% endfor %}{{ ns.s }}");
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        right += chat.render(ordered_json{t, i}) == std::to_string(t) + std::to_string(i);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 200);
}

}  // namespace
}  // namespace mneme
