#include "base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace mneme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Inner {
  double lr = 0.1;
  std::vector<double> betas = {0.9, 0.95};
  std::string kind = "adamw";
  void visit(OptionVisitor& v) {
    v.field("lr", lr, "learning rate");
    v.field("betas", betas, "decay of the moments");
    v.choice("kind", kind, {"adamw", "sgd"}, "which optimizer");
  }
};

struct Outer {
  std::string model;
  std::vector<std::string> files;
  int64_t steps = 1000;
  int64_t save_every = 10;
  bool compile = false, shuffle = true;
  std::optional<int64_t> limit;
  std::optional<double> clip = 1.0;
  std::vector<int64_t> layers;
  std::vector<std::string> tags;
  Inner optimizer;
  CommonOptions common;
  void visit(OptionVisitor& v) {
    v.positional("model", model, "folder of the model", Need::required);
    v.positional("files", files, "texts");
    v.field("steps", steps, "updates");
    v.field("save_every", save_every, "steps between checkpoints");
    v.field("compile", compile, "a bool");
    v.field("shuffle", shuffle, "a bool that is on");
    v.field("limit", limit, "at most so many");
    v.field("clip", clip, "norm of gradients");
    v.field("layers", layers, "which layers");
    v.field("tags", tags, "free words");
    v.section("optimizer", optimizer, "AdamW or SGD");
    common.visit(v);
  }
};

Parsed parse(Outer& o, std::vector<const char*> words) {
  words.insert(words.begin(), "train");
  return parse_command_line(static_cast<int>(words.size()), words.data(), o);
}

// What an Error says, both parts; the kind is checked.
template <class F>
std::string error_of(F&& f, Kind kind = Kind::usage) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(Options, ReadsEveryForm) {
  Outer o;
  const Parsed p = parse(o, {"m",
                             "--steps",
                             "5",
                             "--save-every=7",
                             "--compile",
                             "--no-shuffle",
                             "--limit",
                             "3",
                             "--clip",
                             "none",
                             "--layers",
                             "1,-2",
                             "--layers=3",
                             "--tags",
                             "a\\,b,c",
                             "one,two",
                             "--optimizer.lr",
                             "-3e-4",
                             "--optimizer.kind=sgd",
                             "--threads",
                             "2",
                             "--",
                             "--three"});
  EXPECT_EQ(o.model, "m");
  EXPECT_THAT(o.files, ElementsAre("one,two", "--three"));
  EXPECT_EQ(o.steps, 5);
  EXPECT_EQ(o.save_every, 7);
  EXPECT_TRUE(o.compile);
  EXPECT_FALSE(o.shuffle);
  EXPECT_EQ(o.limit, 3);
  EXPECT_EQ(o.clip, std::nullopt);
  EXPECT_THAT(o.layers, ElementsAre(1, -2, 3));
  EXPECT_THAT(o.tags, ElementsAre("a,b", "c"));
  EXPECT_EQ(o.optimizer.lr, -3e-4);
  EXPECT_EQ(o.optimizer.kind, "sgd");
  EXPECT_EQ(o.common.threads, 2);
  EXPECT_TRUE(p.given.count("optimizer.lr"));
  EXPECT_FALSE(p.given.count("optimizer.betas"));
}

TEST(Options, NamesTheNearestOfAnUnknownFlag) {
  Outer o;
  EXPECT_THAT(error_of([&] {
                parse(o, {"m", "--optimizer.rl", "1"});
              }),
              HasSubstr("the nearest is --optimizer.lr"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--lr", "1"}); }), HasSubstr("the nearest is --optimizer.lr"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--save_evry=1"}); }), HasSubstr("the nearest is --save-every"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--no-steps"}); }), HasSubstr("unknown flag '--no-steps'"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "-x"}); }), HasSubstr("two dashes"));
}

TEST(Options, SaysWhatWasExpectedAndFound) {
  Outer o;
  EXPECT_THAT(error_of([&] {
                parse(o, {"m", "--steps", "5x"});
              }),
              HasSubstr("--steps: expected an integer, found '5x'"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--steps", "99999999999999999999"}); }), HasSubstr("an integer"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--optimizer.lr", "nan"}); }), HasSubstr("a number"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--compile=yes"}); }), HasSubstr("true or false"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--layers", "1,,2"}); }), HasSubstr("a list of integers"));
  EXPECT_THAT(error_of([&] {
                parse(o, {"m", "--optimizer.kind", "adam"});
              }),
              HasSubstr("the nearest is adamw"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--steps"}); }), HasSubstr("end of the line"));
  EXPECT_THAT(error_of([&] { parse(o, {"m", "--steps", "--compile"}); }), HasSubstr("found the flag"));
  EXPECT_THAT(error_of([&] { parse(o, {}); }), HasSubstr("<model> is missing"));
}

TEST(Options, AssignsNothingWhenSomethingIsWrong) {
  Outer o;
  EXPECT_THROW(parse(o, {"m", "--steps", "5", "--compile=maybe"}), Error);
  EXPECT_EQ(o.steps, 1000);
  EXPECT_EQ(o.model, "");
}

TEST(Options, RefusesAWordTooMany) {
  struct Plain {
    bool on = false;
    void visit(OptionVisitor& v) { v.field("on", on, "a bool"); }
  } plain;
  const char* argv[] = {"plain", "word"};
  EXPECT_THAT(error_of([&] { parse_command_line(2, argv, plain); }), HasSubstr("unexpected word 'word'"));
}

TEST(Options, FlagsOverrideTheFileWhereverItStands) {
  const std::string path = testing::TempDir() + "options_test.toml";
  write_file(path, "steps = 5\nlayers = [1, 2]\nlimit = 9\n[optimizer]\nlr = 1\n");
  Outer o;
  const Parsed p = parse(o, {"m", "--layers", "7", "--steps=6", "--config", path.c_str()});
  EXPECT_EQ(o.steps, 6);
  EXPECT_THAT(o.layers, ElementsAre(7));
  EXPECT_EQ(o.limit, 9);
  EXPECT_EQ(o.optimizer.lr, 1.0);
  EXPECT_TRUE(p.given.count("optimizer.lr"));
  remove_file(path);
}

TEST(Options, FileErrorsNameThePlace) {
  Outer o;
  const OptionTable table(o);
  const auto read = [&](const char* text) {
    return error_of([&] { options_from_toml(text, "run.toml", table); });
  };
  EXPECT_THAT(read("steps = 1\nstepz = 2"), HasSubstr("run.toml:2:1: unknown key 'stepz'"));
  EXPECT_THAT(read("[optimiser]\nlr = 2"), HasSubstr("unknown section 'optimiser'"));
  EXPECT_THAT(read("[optimizer]\nlr = 'fast'"),
              HasSubstr("run.toml:2:1: optimizer.lr: expected a number, found 'fast'"));
  EXPECT_THAT(read("optimizer = 3"), HasSubstr("is a section"));
  EXPECT_THAT(read("steps = 1.0"), HasSubstr("expected an integer"));
  EXPECT_THAT(read("steps = 1979-05-27"), HasSubstr("run.toml:1:1"));
  EXPECT_THAT(read("steps = "), HasSubstr("run.toml:1"));
  EXPECT_THAT(read("steps = 1\nsteps = 2"), HasSubstr("run.toml:2"));
  EXPECT_EQ(o.steps, 1000);
}

TEST(Options, TomlAndJsonKeepEveryValue) {
  Outer o;
  o.model = "a \"b\"\\\n\x01 \xc3\xa9";
  o.files = {"x", ""};
  o.limit = 4;
  o.clip.reset();
  o.optimizer.lr = 0.1 + 0.2;
  o.optimizer.betas = {1, 1e300};
  o.layers = {-1};
  const std::string toml = options_to_toml(OptionTable(o));
  const nlohmann::json json = options_json(o);
  EXPECT_EQ(json["optimizer"]["lr"], o.optimizer.lr);
  Outer a, b;
  options_from_toml(toml, "dump", OptionTable(a));
  options_from_json(nlohmann::json::parse(json.dump()), "checkpoint", OptionTable(b));
  EXPECT_EQ(options_json(a), json) << toml;
  EXPECT_EQ(options_json(b), json);
  EXPECT_EQ(a.optimizer.lr, o.optimizer.lr);
}

TEST(Options, JsonErrorsAreBadInput) {
  Outer o;
  const auto read = [&](const char* text) {
    return error_of([&] { options_from_json(nlohmann::json::parse(text), "mneme.json", OptionTable(o)); },
                    Kind::input);
  };
  EXPECT_THAT(read("{\"optimizer\": {\"lrr\": 1}}"), HasSubstr("mneme.json: unknown key 'optimizer.lrr'"));
  EXPECT_THAT(read("{\"steps\": 18446744073709551615}"), HasSubstr("expected an integer"));
  EXPECT_THAT(read("[]"), HasSubstr("JSON object"));
}

TEST(Options, HelpShowsFlagsDefaultsAndSections) {
  Outer o;
  const std::string help = options_help(OptionTable(o));
  for (const char* part : {"<model>", "required", "<files>...", "--save-every N", "default 10",
                           "one of adamw, sgd", "optimizer: AdamW or SGD", "--dump-config", "default none"}) {
    EXPECT_THAT(help, HasSubstr(part));
  }
  EXPECT_THAT(options_markdown(OptionTable(o)),
              HasSubstr("| `--optimizer.lr X` | `optimizer.lr` | learning rate | `0.1` |"));
  EXPECT_TRUE(parse(o, {"--no-such", "--help"}).help);
}

TEST(Options, NearestCountsSwapsAsOneEdit) {
  EXPECT_EQ(nearest("ab", {"xb", "ba", "abcd"}), "xb");
  EXPECT_EQ(nearest("abcd", {"abyz", "abdc"}), "abdc");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace mneme
