#include "train/trainer.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "memory/law_cases.h"
#include "memory/model_folder.h"
#include "memory/read.h"

namespace mneme {
namespace {

namespace fs = std::filesystem;

// The log of all these runs says nothing to a reader of test results.
const bool kQuiet = [] {
  configure_log({.quiet = true});
  return true;
}();

std::string fresh_folder(const std::string& name) {
  const std::string path = (fs::temp_directory_path() / ("mneme-" + name)).string();
  fs::remove_all(path);
  return path;
}

// Random texts; at one step it does something.
class Texts : public SampleSource {
 public:
  Sample train(uint64_t step, int64_t rows, int64_t segments) override {
    if (static_cast<int64_t>(step) == at_step && action) action();
    return text(step, rows, segments);
  }
  Sample held_out(uint64_t index, int64_t rows, int64_t segments) const override {
    return text(1000 + index, rows, segments);
  }
  int64_t vocabulary() const override { return 29; }

  int64_t at_step = -1;
  std::function<void()> action;

 private:
  static Sample text(uint64_t seed, int64_t rows, int64_t segments) {
    const Tensor all = law_text(rows, segments * 7 + 1, seed);
    return {all.narrow(1, 0, segments * 7).contiguous(), all.narrow(1, 1, segments * 7).contiguous()};
  }
};

struct Training {
  explicit Training(const std::string& folder, TrainOptions options = {})
      : setup{options, 3, folder, {}, 0, nullptr} {
    for (const LawCase& c : law_cases()) {
      if (c.name == "rmt/llama") model = law_model(c, at::kFloat);
    }
    trained = prepare_training(model, options.trainable, at::kCPU, at::kFloat, 1);
  }
  int train() { return Trainer(model, trained, source, setup).run(); }
  NamedTensors weights() const {
    NamedTensors out;
    for (const Parameter& p : trained) out.emplace_back(p.name, p.value().detach());
    return out;
  }

  Model model;
  std::vector<Parameter> trained;
  Texts source;
  TrainerSetup setup;
};

TrainOptions small() {
  TrainOptions o;
  o.steps = 12;
  o.batch = 3;
  o.segments = {2, 3};
  o.log_every = 1;
  o.save_every = 4;
  o.held_out = 1;
  o.optimizer.lr = 3e-3;
  return o;
}

void expect_same(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].second.equal(b[i].second)) << a[i].first;
}

TEST(Trainer, ASignalSavesAndTheRunGoesOnBitForBit) {
  Training whole(fresh_folder("trainer-whole"), small());
  EXPECT_EQ(whole.train(), 0);
  for (const auto& [number, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const std::string folder = fresh_folder("trainer-stopped");
    Training first(folder, small());
    first.source.at_step = 5;
    first.source.action = [number = number] { ::raise(number); };
    EXPECT_EQ(first.train(), code);
    Training second(folder, small());
    EXPECT_EQ(second.train(), 0);
    expect_same(whole.weights(), second.weights());
  }
}

TEST(Trainer, MetricsHoldEveryStepOnceAfterAResume) {
  const std::string folder = fresh_folder("trainer-metrics");
  Training first(folder, small());
  first.source.at_step = 6;  // after the checkpoint of step 4, lines of 5 and 6 stand there already
  first.source.action = [] { throw Error(Kind::failure, "killed"); };
  EXPECT_THROW(first.train(), Error);
  Training second(folder, small());
  EXPECT_EQ(second.train(), 0);
  std::vector<int64_t> steps;
  std::istringstream lines(read_file(join_path(folder, "metrics.jsonl")));
  for (std::string line; std::getline(lines, line);)
    steps.push_back(nlohmann::json::parse(line).at("step").get<int64_t>());
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  std::vector<int64_t> events;
  for (const std::string& name : list_folder(folder)) {
    if (name.rfind("events.out.tfevents.", 0) != 0) continue;
    for (const LoggedEvent& e : read_events(join_path(folder, name))) {
      for (const LoggedEvent::Value& v : e.values) {
        if (v.tag == "loss") events.push_back(e.step);
      }
    }
  }
  EXPECT_EQ(events, steps);
}

TEST(Trainer, KeepsTheLastAndTheBestCheckpoints) {
  TrainOptions o = small();
  o.save_every = 1;
  const std::string folder = fresh_folder("trainer-keep");
  Training run(folder, o);
  EXPECT_EQ(run.train(), 0);
  const Checkpoints all(folder, o.keep);
  const std::string best = fs::read_symlink(join_path(folder, "checkpoints/best")).string();
  std::vector<std::string> expected = {"step-000000011", "step-000000012"};
  if (best < expected[0]) expected.insert(expected.begin(), best);
  EXPECT_EQ(all.names(), expected);
  EXPECT_TRUE(is_folder(join_path(folder, "checkpoints/best")));
}

TEST(Trainer, FinalModelMayBeTheBestCheckpoints) {
  TrainOptions o = small();
  o.save_every = 1;
  o.final = "best";
  o.divergence = 0;
  const std::string folder = fresh_folder("trainer-best");
  Training run(folder, o);
  run.source.at_step = 8;
  run.source.action = [&] {  // what it had learned is lost
    const at::NoGradGuard none;
    run.trained[0].value().mul_(-20);
  };
  EXPECT_EQ(run.train(), 0);
  const SafetensorsFile best =
      SafetensorsFile::open(join_path(folder, "checkpoints/best/weights.safetensors"));
  for (const auto& [name, t] : run.weights()) EXPECT_TRUE(t.equal(best.tensor(name))) << name;
  EXPECT_NE(fs::read_symlink(join_path(folder, "checkpoints/best")).string(), "step-000000012");
}

TEST(Trainer, NotANumberEndsTheRunAndKeepsTheCheckpoint) {
  const std::string folder = fresh_folder("trainer-nan");
  Training run(folder, small());
  run.source.at_step = 6;
  run.source.action = [&] {
    const at::NoGradGuard none;
    run.trained[1].value().fill_(std::numeric_limits<float>::infinity());
  };
  try {
    run.train();
    ADD_FAILURE() << "it went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Kind::numeric);
    EXPECT_NE(e.hint().find("--train.optimizer.lr"), std::string::npos);
  }
  EXPECT_EQ(Checkpoints(folder, 2).names(), std::vector<std::string>{"step-000000004"});
  const SafetensorsFile kept =
      SafetensorsFile::open(join_path(folder, "checkpoints/step-000000004/weights.safetensors"));
  for (const std::string& name : kept.names())
    EXPECT_TRUE(at::isfinite(kept.tensor(name)).all().item<bool>()) << name;
}

TEST(Trainer, AnotherConfigurationIsRefused) {
  const std::string folder = fresh_folder("trainer-other");
  Training first(folder, small());
  EXPECT_EQ(first.train(), 0);
  TrainOptions other = small();
  other.optimizer.lr = 1e-3;
  try {
    Training(folder, other).train();
    ADD_FAILURE() << "it went on";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("train.optimizer.lr"), std::string::npos) << e.message();
  }
}

TEST(Trainer, MicroBatchesChangeNothing) {
  TrainOptions o = small();
  Training whole(fresh_folder("trainer-batch"), o);
  whole.train();
  o.micro_batch = 2;
  Training parts(fresh_folder("trainer-micro"), o);
  parts.train();
  const NamedTensors a = whole.weights(), b = parts.weights();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_LT((a[i].second - b[i].second).abs().max().item<double>(), 2e-4) << a[i].first;
}

TEST(Trainer, AnAdapterRoundTrips) {
  TrainOptions o = small();
  o.trainable.lora.rank = 2;
  o.trainable.lora.alpha = 8;
  o.trainable.lora.dropout = 0.1;
  o.trainable.unfreeze = {"final_norm.*"};
  o.optimizer.lr = 0.05;
  const std::string base = fresh_folder("trainer-base"), adapter = fresh_folder("trainer-adapter");
  Training run(fresh_folder("trainer-lora"), o);
  save_model(run.model, base);
  EXPECT_EQ(run.train(), 0);
  std::vector<Parameter> whole;
  for (const Parameter& p : run.model.decoder->parameters()) {
    if (p.value().requires_grad()) whole.push_back(p);
  }
  ASSERT_EQ(whole.size(), 1U);
  save_adapter(run.model, o.trainable.lora, whole, base, adapter);
  const Model merged = load_model(adapter, {});
  const Model untouched = load_model(base, {});
  const auto hidden = [](const Model& m) {
    const at::NoGradGuard none;
    State s = m.initial(2);
    Batch b;
    b.ids = law_text(2, 20, 4);
    return read(m, b, s).hidden;
  };
  EXPECT_LT((hidden(run.model) - hidden(merged)).abs().max().item<double>(), 1e-4);
  EXPECT_GT((hidden(untouched) - hidden(merged)).abs().max().item<double>(), 1e-2);
}

TEST(LossGuard, TellsARiseFromNoise) {
  LossGuard guard;
  for (int64_t i = 0; i < 300; ++i) guard.observe(i, 2 + (i % 2 ? 1.5 : -1.5), 1, 4, "run");
  EXPECT_NO_THROW(guard.observe(300, 30, 1, 4, "run"));
  EXPECT_THROW(
      {
        for (int64_t i = 301; i < 600; ++i) guard.observe(i, 9, 1, 4, "run");
      },
      Error);
  LossGuard off;
  for (int64_t i = 0; i < 300; ++i) off.observe(i, static_cast<double>(i), 1, 0, "run");
  EXPECT_THROW(off.observe(300, std::nan(""), 1, 0, "run"), Error);
  EXPECT_THROW(off.observe(300, 1, INFINITY, 0, "run"), Error);
}

}  // namespace
}  // namespace mneme
