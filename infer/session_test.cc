#include "infer/session.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "infer/testing.h"
#include "memory/read.h"

namespace mneme {
namespace {

MemoryOptions with(const std::string& method) {
  MemoryOptions o;
  o.method = method;
  o.segments.segment = 6;
  o.window.window = 7;
  o.sink = {2, 6};
  o.xl = {5, 8};
  o.memorizing.segment = 6;
  o.rmt = {6, 2};
  o.hmt.segment = 6;
  o.hmt.sensory = 2;
  o.hmt.recall_width = 8;
  o.landmark.block = 3;
  o.landmark.segment = 6;
  o.landmark.retrieve = 2;
  return o;
}

Model tiny(const std::string& method, uint64_t seed = 3) {
  return fresh_model("testdata/models/tiny-llama.json", with(method), seed);
}

GenerateOptions tokens(int64_t count, double temperature = 1) {
  GenerateOptions o;
  o.max_tokens = count;
  o.sampler.temperature = temperature;
  return o;
}

class Sessions : public ::testing::TestWithParam<const char*> {
 protected:
  std::string path() const { return folder_ / "a.session"; }
  TemporaryFolder folder_;
};

TEST_P(Sessions, StoppedSavedAndGoneOnEqualsOneRun) {
  const Model model = tiny(GetParam());
  Session once(model, nullptr);
  const Completion whole = once.go_on({1, 2, 3, 4}, {}, tokens(21), 7);
  Session parts(model, nullptr);
  std::vector<int64_t> ids;
  for (int i = 0; i < 3; ++i) {
    const Completion c =
        parts.go_on(i == 0 ? std::vector<int64_t>{1, 2, 3, 4} : std::vector<int64_t>{}, {}, tokens(7), 7);
    ids.insert(ids.end(), c.ids.begin(), c.ids.end());
    parts.save(path());
    parts = Session::open(model, nullptr, path());
  }
  EXPECT_EQ(ids, whole.ids);
  EXPECT_EQ(parts.text(), once.text());
  EXPECT_EQ(parts.row().position, once.row().position);
}

TEST_P(Sessions, ADocumentIsReadOnFromWhereItStopped) {
  const Model model = tiny(GetParam());
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 40; ++i) ids.push_back(1 + i * 7 % 23);
  Session once(model, nullptr), stopped(model, nullptr);
  const auto always = [](const Row&) { return true; };
  once.read(ids, 40, always);
  stopped.read(ids, 5, [](const Row& row) { return row.position < 15; });
  EXPECT_EQ(stopped.row().position, 15);
  stopped.save(path());
  Session later = Session::open(model, nullptr, path());
  int64_t pieces = 0;
  later.read(ids, 8, [&](const Row&) { return ++pieces > 0; });
  EXPECT_EQ(pieces, 3);
  EXPECT_EQ(later.go_on({}, {}, tokens(9), 7).ids, once.go_on({}, {}, tokens(9), 7).ids);
  ids[4] = 28;
  EXPECT_THROW(later.read(ids, 8, always), Error);
}

TEST_P(Sessions, KeptSegmentEndsCanBeGoneBackTo) {
  const Model model = tiny(GetParam());
  Session s(model, nullptr, {.keep = 3});
  s.go_on({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {}, tokens(20), 7);
  const std::vector<int64_t> ends = s.ends();
  const bool segmented = model.memory->room(model.initial(1).rows[0]) < 100;
  ASSERT_EQ(ends.size(), segmented ? 3U : 0U);
  if (!segmented) return;
  s.save(path());
  const std::vector<int64_t> text = s.text();
  for (int64_t back = 1; back <= 3; ++back) {
    Session other = Session::open(model, nullptr, path());
    EXPECT_EQ(other.ends(), ends);
    other.go_back(back);
    const int64_t to = ends[static_cast<size_t>(3 - back)];
    EXPECT_EQ(other.row().position, to);
    EXPECT_EQ(other.ends().back(), to);
    // Another way on from there is what a fresh text with this beginning would have done.
    Session fresh(model, nullptr);
    std::vector<int64_t> beginning(text.begin(), text.begin() + to);
    beginning.push_back(17);
    const Completion expected = fresh.go_on(beginning, {}, tokens(9), 8);
    EXPECT_EQ(other.go_on({17}, {}, tokens(9), 8).ids, expected.ids) << back;
  }
  EXPECT_THROW(s.go_back(4), Error);
  // The file without a model.
  SessionFile file = SessionFile::read(path());
  file.go_back(2);
  EXPECT_EQ(file.rows[0].position, ends[1]);
  EXPECT_EQ(static_cast<int64_t>(file.text.size()), ends[1]);
  file.write(folder_ / "fork");
  Session forked = Session::open(model, nullptr, folder_ / "fork");
  s.go_back(2);
  EXPECT_EQ(forked.go_on({5}, {}, tokens(6), 1).ids, s.go_on({5}, {}, tokens(6), 1).ids);
  file.trim(0);
  EXPECT_EQ(file.rows.size(), 1U);
}

TEST_P(Sessions, ANewTextKeepsItsCommonBeginning) {
  const Model model = tiny(GetParam());
  Session s(model, nullptr, {.keep = 2});
  std::vector<int64_t> a, b;
  for (int64_t t = 0; t < 31; ++t) a.push_back((t * 7 + 3) % 29);
  b = a;
  b[26] = (b[26] + 1) % 29;
  s.go_on(a, {}, tokens(1), 0);
  s.set_text(b);
  const Completion c = s.go_on({}, {}, tokens(8), 4);
  Session fresh(model, nullptr);
  EXPECT_EQ(c.ids, fresh.go_on(b, {}, tokens(8), 4).ids);
}

TEST_P(Sessions, SixtyFourOfDifferentPhaseDecodeInOneBatch) {
  const at::NoGradGuard no_grad;
  const Model model = tiny(GetParam());
  std::vector<Session> all;
  State together;
  std::vector<std::vector<int64_t>> last;
  for (int64_t r = 0; r < 64; ++r) {
    Session s(model, nullptr);
    std::vector<int64_t> prompt;
    for (int64_t t = 0; t <= (r * 7) % 23; ++t) prompt.push_back((r * 5 + t * 3) % 29);
    s.go_on(prompt, {}, tokens(1 + r % 5, 0), 0);
    together.rows.push_back(s.row());
    last.push_back({s.text().back()});
    all.push_back(std::move(s));
  }
  GenerateOptions o = tokens(12, 0);
  o.read_last = false;
  const std::vector<Completion> batch = generate(model, nullptr, last, {}, o, 0, together);
  for (size_t r = 0; r < 64; ++r) {
    const Completion alone = all[r].go_on({}, {}, tokens(12, 0), 0);
    EXPECT_EQ(batch[r].ids, alone.ids) << r;
    EXPECT_EQ(together.rows[r].position, all[r].row().position) << r;
    for (size_t t = 0; t < 12; ++t) EXPECT_NEAR(batch[r].logprobs[t], alone.logprobs[t], 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Sessions,
                         ::testing::Values("none", "segments", "window", "sink", "xl", "memorizing", "rmt",
                                           "hmt", "landmark"),
                         [](const auto& info) { return std::string(info.param); });

class SessionFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    Session s(model_, nullptr, {.keep = 2});
    s.go_on({1, 2, 3}, {}, tokens(20), 0);
    s.save(path());
  }
  std::string path() const { return folder_ / "a.session"; }
  std::string refusal(const Model& model) const {
    try {
      Session::open(model, nullptr, path());
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), Kind::input);
      return e.message();
    }
    return "";
  }
  Model model_ = tiny("rmt");
  TemporaryFolder folder_;
};

TEST_F(SessionFiles, AreRefusedWithTheReason) {
  EXPECT_EQ(refusal(model_), "");
  EXPECT_NE(refusal(tiny("rmt", 4)).find("other weights"), std::string::npos);
  EXPECT_NE(refusal(tiny("hmt")).find("another memory method"), std::string::npos);
  MemoryOptions longer = with("rmt");
  longer.rmt.segment = 7;
  const Model other = fresh_model("testdata/models/tiny-llama.json", longer, 3);
  EXPECT_NE(refusal(other).find("other options"), std::string::npos);
  EXPECT_EQ(refusal(other).find("architecture"), std::string::npos);
  EXPECT_NE(
      refusal(fresh_model("testdata/models/tiny-qwen2.json", with("rmt"), 3)).find("another architecture"),
      std::string::npos);
  // Options of another method do not matter.
  MemoryOptions same = with("rmt");
  same.window.window = 99;
  EXPECT_EQ(refusal(fresh_model("testdata/models/tiny-llama.json", same, 3)), "");
  const std::shared_ptr<const Tokenizer> bytes = byte_tokenizer();
  EXPECT_THROW(Session::open(model_, bytes, path()), Error);
}

TEST_F(SessionFiles, AStateWithoutItsTextIsNoSession) {
  State s = model_.initial(1);
  save_state(s, fingerprint(model_, ""), path());
  EXPECT_NE(refusal(model_).find("without its text"), std::string::npos);
  save_state(s, fingerprint(model_, ""), path(), "{\"kind\": \"session-1\", \"text\": [-1]}");
  EXPECT_NE(refusal(model_).find("negative"), std::string::npos);
  save_state(s, fingerprint(model_, ""), path(), "{\"kind\": \"session-1\", \"text\": [29]}");
  EXPECT_NE(refusal(model_).find("vocabulary"), std::string::npos);
  s.rows[0].position = 5;
  save_state(s, fingerprint(model_, ""), path(), "{\"kind\": \"session-1\", \"text\": [1]}");
  EXPECT_NE(refusal(model_).find("more than its text"), std::string::npos);
}

TEST_F(SessionFiles, DifferencesAreNamed) {
  const SessionFile a = SessionFile::read(path());
  EXPECT_TRUE(session_differences(a, SessionFile::read(path())).empty());
  Session s = Session::open(model_, nullptr, path());
  s.go_on({}, {}, tokens(3), 0);
  s.save(folder_ / "b");
  const std::vector<std::string> d = session_differences(a, SessionFile::read(folder_ / "b"));
  const auto says = [&](const std::string& what) {
    return std::any_of(d.begin(), d.end(),
                       [&](const std::string& x) { return x.find(what) != std::string::npos; });
  };
  EXPECT_TRUE(says("tokens read"));
  EXPECT_TRUE(says("the same up to 23"));
}

// A process that saves without end is killed at random moments: what it had said was saved is there, whole.
TEST_F(SessionFiles, KilledWhileSavingLosesNothing) {
  SessionFile file = SessionFile::read(path());
  const std::string target = folder_ / "killed";
  int64_t saved = -1;
  Random random(Site{.seed = 11});
  for (int round = 0; round < 25; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      at::set_num_threads(1);  // the parent's threads did not come along
      for (int64_t version = saved + 1;; ++version) {
        file.keep = version % 60000;
        file.write(target);
        if (::write(pipe_ends[1], &version, sizeof version) != sizeof version) ::_exit(1);
      }
    }
    ::close(pipe_ends[1]);
    int64_t told = 0;
    // At least one save, then anything between nothing and a few of them.
    ASSERT_EQ(::read(pipe_ends[0], &told, sizeof told), static_cast<ssize_t>(sizeof told));
    ::usleep(static_cast<useconds_t>(random.below(4000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (int64_t more = 0; ::read(pipe_ends[0], &more, sizeof more) == static_cast<ssize_t>(sizeof more);)
      told = more;
    ::close(pipe_ends[0]);
    const SessionFile found = SessionFile::read(target);
    EXPECT_TRUE(found.keep == told || found.keep == told + 1) << found.keep << " after " << told;
    EXPECT_EQ(found.text, file.text);
    saved = found.keep;
  }
}

}  // namespace
}  // namespace mneme
